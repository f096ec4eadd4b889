"""The verbs ``recsys users``: what a person may ask of whoever holds data of theirs."""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from recsys.clock import WallClock
from recsys.digest_names import DIRECTORY
from recsys.errors import ConfigError
from recsys.event_log import EventLog
from recsys.file_lock import exclusive_if_free
from recsys.objections import Objections
from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, time_ms
from recsys.pseudonyms import Pseudonyms
from recsys.schema import DAY_MS
from recsys.timestamps import iso
from recsys.workspace import Workspace, atomic_path

users = typer.Typer(help="Erase, export and object: what a person may ask.", no_args_is_help=True)

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The user, known or not.")]
VisitorOption = Annotated[bool, typer.Option("--visitor", help="ID is a visitor's, not a user's.")]
_LOOK_SECONDS = 0.2


@users.command()
def erase(
    person: IdArgument,
    *,
    visitor: VisitorOption = False,
    at: Annotated[
        str | None, typer.Option(help="Everything up to this moment goes, ISO 8601; now when absent.")
    ] = None,
    patience: Annotated[float, typer.Option(min=0, help="Seconds to wait for a running server.")] = 60.0,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Erase a person from the workspace, and from the store of a server that runs on it."""
    place = Workspace(workspace).existing()
    now_ms = WallClock().now_ms()
    if at is not None:
        now_ms = _past(time_ms(at, "--at"), now_ms)
    receipt = erase_user(place, subject_of(place, person, visitor=visitor), now_ms, patience)
    if json_output:
        typer.echo(json.dumps(receipt))
    else:
        done = "complete" if receipt["is_complete"] else "the server finishes it as soon as it can"
        typer.echo(f"receipt {receipt['receipt_id']}: {done}")
        if num_trainings := receipt["num_trainings"]:
            typer.echo(f"{num_trainings} trainings under way may have read the data; see docs/privacy.md")
    end_ms = EventLog(place.events).end_ms()
    if end_ms is not None and now_ms > end_ms + DAY_MS:
        sys.stderr.write(
            f"note: the log ends at {iso(end_ms)}: a server with --clock replay refuses what this id does "
            f"from now on, until its own time has come to {iso(now_ms)}; --at names an earlier one\n"
        )


@users.command()
def export(
    person: IdArgument,
    *,
    visitor: VisitorOption = False,
    output: Annotated[Path | None, typer.Option(help="JSON Lines file to write; default: print.")] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Write everything that is held of a person, one JSON document a line."""
    place = Workspace(workspace).existing()
    lines = export_user(place, subject_of(place, person, visitor=visitor))
    if output is None:
        for line in lines:
            typer.echo(line)
        return
    with atomic_path(output) as partial, partial.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


@users.command()
def profiling(
    person: IdArgument,
    allow: Annotated[bool, typer.Option("--allow/--forbid", help="Take an objection back, or in.")],
    *,
    visitor: VisitorOption = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Say whether a person may be profiled; servers obey within a second."""
    place = Workspace(workspace).existing()
    Objections(place.root).set(subject_of(place, person, visitor=visitor), objects=not allow)


@users.command()
def pseudonym(
    person: IdArgument,
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Print the id under which a person is kept, for verbs that look somebody up."""
    pseudonyms = Pseudonyms.configured(Workspace(workspace))
    typer.echo(person if pseudonyms is None else pseudonyms.of(person))


def subject_of(workspace: Workspace, person: str, *, visitor: bool = False) -> str:
    """Under which id a person's data stand.

    Raises:
        ConfigError: It is no id that a person may have.
    """
    from serving.event import VISITOR_PREFIX, subject

    pseudonyms = Pseudonyms.configured(workspace)
    own = person if pseudonyms is None else pseudonyms.of(person)
    found = subject("", own) if visitor else subject(own, "")
    if found is None or own.startswith(VISITOR_PREFIX[0]):
        raise ConfigError("ID is empty or begins with U+001F; expected a user's id, or a visitor's")
    return found


def _past(at_ms: int, now_ms: int) -> int:
    if at_ms > now_ms:
        raise ConfigError(
            f"--at: expected a time up to now, got {iso(at_ms)}; "
            "until then every event of the person would be refused"
        )
    return at_ms


def erase_user(workspace: Workspace, subject: str, now_ms: int, patience: float) -> dict[str, object]:
    """Erase somebody, with a server that runs on the workspace or without.

    Args:
        workspace: The workspace.
        subject: See ``serving.event.subject``.
        now_ms: Everything up to this moment goes, in milliseconds since the epoch.
        patience: Seconds to wait for a running server to have it forgotten by its store.

    Returns:
        ``receipt_id``, ``erased_ms``, ``is_complete`` and ``num_trainings``, see ``Erased``.

    Raises:
        RecsysError: Something cannot be read or written; what was ordered is done later.
    """
    from serving.erasure import SERVING_LOCK, Erased, open_eraser

    lock = workspace.root / DIRECTORY / SERVING_LOCK
    with ExitStack() as stack:
        eraser = open_eraser(stack, workspace)
        erasure = eraser.order(subject, now_ms)
        with exclusive_if_free(lock) as is_alone:
            if is_alone:
                for _ in _passes(workspace):
                    erased: Erased = eraser.erase_files(erasure)
                    _forget_in_store(workspace, erasure.subjects, erasure.erased_ms, erased.list_ids)
                eraser.journal.finish(erasure)
        until = time.monotonic() + patience
        while (waits := eraser.journal.is_unfinished(erasure.receipt_id)) and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
        num_trainings = eraser.num_trainings()
    return {
        "receipt_id": erasure.receipt_id,
        "erased_ms": erasure.erased_ms,
        "is_complete": not waits,
        "num_trainings": num_trainings,
    }


def _passes(workspace: Workspace) -> Iterator[None]:
    """Once, and where consumers of Kafka keep log and states, once more as a running server does."""
    from serving.erasure import IN_FLIGHT
    from serving.kafka_states import have_consumers

    yield
    if have_consumers(workspace):
        time.sleep(IN_FLIGHT.total_seconds())
        yield


def export_user(workspace: Workspace, subject: str) -> Iterator[str]:
    """Everything that is held of somebody; of the store, only of one that ``RECSYS_REDIS_URL`` names.

    Raises:
        RecsysError: Something cannot be read.
    """
    from serving.erasure import open_eraser
    from serving.event_buffer import BUFFER_FILE, SqliteEventBuffer
    from serving.list_log import LIST_FILE, ListLog
    from serving.personal_data import personal_data

    with ExitStack() as stack:
        subjects = open_eraser(stack, workspace).subjects_of(subject)
        buffer = SqliteEventBuffer(workspace.state / BUFFER_FILE)
        stack.callback(buffer.close)
        list_log = ListLog(workspace.state / LIST_FILE)
        stack.callback(list_log.close)
        yield from personal_data(workspace, buffer, list_log, subjects)
    yield from _stored(workspace, subjects)


def _stored(workspace: Workspace, subjects: tuple[str, ...]) -> list[str]:
    from recsys.config import load_config
    from serving.personal_data import remembered
    from serving.settings import load_settings
    from serving.state_store import StateStore
    from serving.store_clients import connect

    settings = load_settings()
    if settings.redis_url is None:
        sys.stderr.write(
            "what the online store holds is derived from these events; a running server's ExportUser "
            "sends it too\n"
        )
        return []
    url = settings.redis_url.get_secret_value()

    async def read() -> list[str]:
        client = connect(url, settings.store_timeout_ms)
        store = StateStore(client, settings.tenant, load_config(workspace.config).state)
        try:
            return await remembered(store, subjects)
        finally:
            await store.close()

    return asyncio.run(read())


def _forget_in_store(
    workspace: Workspace, subjects: tuple[str, ...], erased_ms: int, list_ids: tuple[str, ...]
) -> None:
    """Let a store that outlives servers forget somebody; an embedded one is gone with its server."""
    from recsys.config import load_config
    from serving.kafka_states import have_consumers
    from serving.page_store import list_keys
    from serving.settings import load_settings
    from serving.state_store import StateStore
    from serving.store_clients import connect

    settings = load_settings()
    if settings.redis_url is None:
        if have_consumers(workspace):
            raise ConfigError(
                "the erasure is ordered, but consumers keep the states in a store that nothing names: set "
                "RECSYS_REDIS_URL to it and erase the person again"
            )
        return
    url = settings.redis_url.get_secret_value()

    async def forget() -> None:
        client = connect(url, settings.store_timeout_ms)
        store = StateStore(client, settings.tenant, load_config(workspace.config).state)
        try:
            await store.erase(subjects, erased_ms)
            await store.unlink(list_keys(settings.tenant, list_ids))
        finally:
            await store.close()

    asyncio.run(forget())
