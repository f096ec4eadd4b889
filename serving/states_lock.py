"""Who may write user states, where several processes do: many beside each other, or one alone.

The files lie in ``Workspace.state``. Whoever wants to be alone holds a door shut meanwhile, so that those who
come again and again, as consumers do, let it through.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from recsys.file_lock import exclusive, shared

STATES_LOCK = "states.lock"
_DOOR = "states-door.lock"


@contextmanager
def beside_others(state: Path) -> Iterator[None]:
    """Nobody is ``alone`` meanwhile; waits for who is, or wants to be."""
    with ExitStack() as held:
        with shared(state / _DOOR):
            held.enter_context(shared(state / STATES_LOCK))
        yield


@contextmanager
def alone(state: Path) -> Iterator[None]:
    """Nobody else writes meanwhile; waits for who does."""
    with exclusive(state / _DOOR), exclusive(state / STATES_LOCK):
        yield
