"""Command-line options that several verbs share."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from recsys.errors import ConfigError
from recsys.runner import EngineName

DEFAULT_WORKSPACE: Final = Path("workspace")
"""Where a verb works when nothing else is said; write ``workspace: WorkspaceOption = DEFAULT_WORKSPACE``."""

WorkspaceOption = Annotated[
    Path,
    typer.Option(
        "--workspace",
        envvar="RECSYS_WORKSPACE",
        file_okay=False,
        help="Directory that holds the data, models and reports.",
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]


def time_ms(text: str, flag: str) -> int:
    """Read a moment given on the command line; without a zone it is UTC.

    Args:
        text: ISO 8601, such as ``2017-12-04T05:00:00Z``.
        flag: The option it came with, for the message.

    Returns:
        Milliseconds since the epoch.

    Raises:
        ConfigError: It is no such time.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{flag} takes a time such as 2017-12-04T05:00:00Z, got {text!r}") from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


EngineOption = Annotated[
    EngineName,
    typer.Option(
        "--engine", help="local for this process; ray for the cluster that RAY_ADDRESS names, see the docs."
    ),
]
