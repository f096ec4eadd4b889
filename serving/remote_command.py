"""The verbs ``recsys remote push`` and ``pull``: a workspace and its copy in an object store."""

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import structlog
import typer

from recsys.digest_names import DIRECTORY
from recsys.errors import ConfigError, RecsysError
from recsys.file_lock import exclusive
from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from recsys.user_shard import ALL_USERS, UserShard
from recsys.workspace import Workspace

if TYPE_CHECKING:
    from recsys.remote.pull import Pulled
    from recsys.remote.push import Pushed
    from recsys.remote.units import Part

remote = typer.Typer(help="The workspace's copy in an object store.", no_args_is_help=True)

_log = structlog.get_logger(__name__)

UrlArgument = Annotated[
    str, typer.Argument(metavar="URL", help="s3://BUCKET/PREFIX, file:///DIRECTORY or another of fsspec's.")
]
OnlyOption = Annotated[
    Literal["all", "data", "models"],
    typer.Option("--only", help="data (event log, items, users, served lists) or models (the registry)."),
]
EveryOption = Annotated[
    float | None, typer.Option("--every", min=1.0, metavar="SECONDS", help="Go on for ever, so often.")
]


@remote.command("push")
def push_command(
    url: UrlArgument,
    *,
    only: OnlyOption = "all",
    every: EveryOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Send what is new here to the store; who was erased here is then nowhere in it."""
    from recsys.remote.opening import open_objects
    from recsys.remote.push import push

    objects, place = open_objects(url), Workspace(workspace).existing()
    _repeat(
        lambda: _show_pushed(url, push(place, objects, parts=_parts(only), forget=forget), json_output),
        every,
    )


@remote.command("pull")
def pull_command(
    url: UrlArgument,
    *,
    only: OnlyOption = "all",
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Of the event log, only what the users I of N did, I from 0 on."),
    ] = None,
    pointed: Annotated[
        bool, typer.Option("--pointed", help="Of the models, only those that pointers name.")
    ] = False,
    theirs: Annotated[
        bool, typer.Option("--theirs", help="What was changed here and there is to be as it is there.")
    ] = False,
    every: EveryOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Bring what is new in the store; running servers take over models that are pointed at."""
    from recsys.remote.opening import open_objects
    from recsys.remote.pull import pull

    objects, place, users = open_objects(url), Workspace(workspace), _users(shard)

    def once() -> None:
        pulled = pull(
            place,
            objects,
            parts=_parts(only),
            users=users,
            pointed=pointed,
            theirs=theirs,
            forget=forget,
        )
        _show_pulled(url, pulled, json_output)

    _repeat(once, every)


def forget(workspace: Workspace) -> None:
    """Take everybody who is erased off the workspace's files: also what only servers write."""
    from recsys.remote.pull import forget_in_files

    if not workspace.state.exists():
        forget_in_files(workspace)
        return
    from serving.erasure import open_eraser

    with exclusive(workspace.root / DIRECTORY / ".lock"), ExitStack() as stack:
        open_eraser(stack, workspace).sweep_all()


def _repeat(once: Callable[[], None], every: float | None) -> None:
    """Once, or so often; what fails then is said, and tried again."""
    while True:
        try:
            once()
        except (RecsysError, OSError) as error:
            if every is None:
                raise
            _log.error("the object store and the workspace are not in step", reason=str(error))
        if every is None:
            return
        time.sleep(every)


def _parts(only: str) -> "tuple[Part, ...]":
    from recsys.remote.pull import ALL_PARTS

    return tuple(part for part in ALL_PARTS if only in {"all", part})


def _users(shard: str | None) -> UserShard:
    if shard is None:
        return ALL_USERS
    number, _, count = shard.partition("/")
    try:
        return UserShard(int(number), int(count))
    except ValueError as error:
        raise ConfigError(f"--shard takes I/N with I from 0 to N-1, such as 0/16, got {shard!r}") from error


def _show_pushed(url: str, pushed: "Pushed", json_output: bool) -> None:
    from recsys.remote.torn import torn_error

    if json_output:
        typer.echo(json.dumps(asdict(pushed)))
    else:
        typer.echo(
            f"{pushed.num_units:,} sent ({pushed.num_bytes:,} bytes), {pushed.num_removed:,} objects removed"
        )
        for version, reason in pushed.left_out.items():
            typer.echo(f"left out: {version}: {reason}")
        if pushed.num_unclean:
            typer.echo(
                f"{pushed.num_unclean:,} appends, lists or tables in the store may still hold what was "
                "erased, and are not wholly here: pull and push them on a machine that holds the whole log"
            )
    if (error := torn_error(url, pushed.torn)) is not None:
        raise error


def _show_pulled(url: str, pulled: "Pulled", json_output: bool) -> None:
    from recsys.remote.torn import torn_error

    if json_output:
        typer.echo(json.dumps(asdict(pulled)))
    else:
        typer.echo(f"{pulled.num_units:,} brought, {pulled.num_erased:,} erasures; version {pulled.number:,}")
    if (error := torn_error(url, pulled.torn)) is not None:
        raise error
