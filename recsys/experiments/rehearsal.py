"""A rehearsal on a running server: how it is asked for, and who carries it out."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points

from recsys.errors import ConfigError
from recsys.workspace import Workspace


@dataclass(frozen=True)
class Rehearsal:
    """Users of the log shop at a server where an experiment runs, with an effect that is known."""

    address: str
    """``host:port``."""
    key: str
    """The experiment."""
    effect: float
    """Relative difference that treatment makes to the chance of a purchase; 0 is A/A."""
    households: int | None
    """Users; ``None`` for all, up to ``simulation.MAX_UNITS``."""
    visits: int
    """Of each."""
    runs: int
    """A/A analyses of the same log under other salts."""
    seed: int
    wait_seconds: float
    """For the log to take all in."""


Rehearse = Callable[[Workspace, Rehearsal, bool], None]
"""Simulates and prints, as JSON if so."""


def rehearse(workspace: Workspace, rehearsal: Rehearsal, *, json_output: bool) -> None:
    """Let the package that speaks to servers do it, and print what came of it.

    Raises:
        ConfigError: Packages are missing, the experiment does not run, or the server is not there.
        DataError: There is nobody to simulate, or the log does not come in time.
    """
    [command] = entry_points(group="recsys.experiment", name="shop")
    try:
        found: Rehearse = command.load()
    except ImportError as error:
        raise ConfigError(f"--shop needs: pip install '.[serving]' ({error})") from error
    found(workspace, rehearsal, json_output)
