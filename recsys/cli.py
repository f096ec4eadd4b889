"""The command ``recsys``: finds its verbs, sets logging up, and turns errors into a line and an exit code.

Every package brings its own verbs through the entry-point group ``recsys.commands``, so the bottom layer
imports nothing upward. Only the verb that is asked for is imported; the overview of ``recsys --help`` imports
them all.

Exit codes: 0 done, 1 failed with one clear line, 2 wrong usage, 130 interrupted.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import NoReturn

import structlog
import typer

from recsys.errors import ConfigError, RecsysError

_EXTRAS = ("demo", "serving", "training")
_INTERRUPTED = 130
_encode = json.JSONEncoder(ensure_ascii=False, default=repr).encode  # made once: half the time of a line
_LOG_FORMATS = ("auto", "console", "json")


def main() -> NoReturn:
    """Run the command line of this process."""
    # A thread that spins while it waits starves the one it waits for as soon as the cores are shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(run(sys.argv[1:], entry_points(group="recsys.commands")))


def run(argv: Sequence[str], commands: Iterable[EntryPoint]) -> int:
    """Run one command line.

    Args:
        argv: The words after ``recsys``.
        commands: The verbs: an entry point's name is the verb, its object a function or a ``typer.Typer``.

    Returns:
        The exit code.
    """
    try:
        configure_logging(
            os.environ.get("RECSYS_LOG_LEVEL", "INFO"), os.environ.get("RECSYS_LOG_FORMAT", "auto")
        )
        build_app(argv, commands)(list(argv), prog_name="recsys")
    except (RecsysError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        return 1
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    else:
        code = 0
    if code == _INTERRUPTED:
        typer.echo("interrupted", err=True)
    return code


def build_app(argv: Sequence[str], commands: Iterable[EntryPoint]) -> typer.Typer:
    """Assemble the application: with the verb that ``argv`` asks for, or with all when it asks for none."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback(help="A recommendation engine: text and behaviour, ranked together.")(_root)
    verb = next((word for word in argv if not word.startswith("-")), None)
    for command in sorted(commands, key=lambda command: command.name):
        if verb in {None, command.name}:
            _add_loaded(app, command)
        else:
            app.command(command.name)(
                _root
            )  # never called: keeps the name known, so that a slip gets a suggestion
    return app


def configure_logging(level: str, log_format: str = "auto") -> None:
    """Send log lines to stderr.

    Args:
        level: Least severe level that is shown: ``DEBUG``, ``INFO``, ``WARNING``, ``ERROR`` or ``CRITICAL``.
        log_format: ``console`` for people, ``json`` for programs, or ``auto``: people at a terminal.

    Raises:
        ConfigError: There is no such level or format.
    """
    levels = logging.getLevelNamesMapping()
    if level.upper() not in levels:
        raise ConfigError(
            f"RECSYS_LOG_LEVEL is {level!r}, expected one of DEBUG, INFO, WARNING, ERROR, CRITICAL"
        )
    if log_format not in _LOG_FORMATS:
        raise ConfigError(f"RECSYS_LOG_FORMAT is {log_format!r}, expected one of {', '.join(_LOG_FORMATS)}")
    for_people = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    for chatty in ("pytorch_lightning", "lightning_fabric"):  # they advertise at INFO
        logging.getLogger(f"{chatty}.utilities.rank_zero").setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(_renderers_for_people() if for_people else _renderers_for_programs()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(levels[level.upper()]),
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),
    )


def _renderers_for_people() -> Sequence[structlog.typing.Processor]:
    plain = structlog.dev.plain_traceback  # the rich one shows local variables, and so who asked for what
    return (structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain),)


def _renderers_for_programs() -> Sequence[structlog.typing.Processor]:
    return (structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_as_json))


def _as_json(line: dict[str, object], **_options: object) -> str:
    return _encode(line)


def _root() -> None:
    pass


def _add_loaded(app: typer.Typer, command: EntryPoint) -> None:
    try:
        loaded = command.load()
    except ImportError as error:
        _add_stand_in(app, command, error)
        return
    if isinstance(loaded, typer.Typer):
        app.add_typer(loaded, name=command.name)
    else:
        app.command(command.name)(loaded)


def _add_stand_in(app: typer.Typer, command: EntryPoint, error: ImportError) -> None:
    """Register a verb that cannot be imported, so that the others work and this one says what it needs."""
    package = command.module.split(".")[0]
    extra = next((name for name in (command.name, package) if name in _EXTRAS), "dev")
    need = f"needs: pip install '.[{extra}]'"
    any_arguments = {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command(command.name, help=need, context_settings=any_arguments)(
        _refusal(f"recsys {command.name} {need} ({error})")
    )


def _refusal(message: str) -> Callable[[], None]:
    def refuse() -> None:
        raise ConfigError(message)

    return refuse
