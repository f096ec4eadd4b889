"""Takes a shop's items, users and events into the workspace: checked row by row, published as a whole.

Rows that break the contract go to ``rejects/`` with a reason each, and every row is counted: read = accepted
+ rejected + duplicates. When too many are bad, nothing changes but that the rejects can be read. Items and
users replace those of the same id; events are added to the log, once each, by event id. The catalogue is
published before the events that name it; an interruption in between leaves the old log, and the same command
completes it.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl
import structlog

from recsys.clock import WallClock
from recsys.columns import REASON
from recsys.errors import ConfigError, DataError
from recsys.event_log import EventLog
from recsys.file_lock import exclusive
from recsys.log_layout import log_for_appends
from recsys.metarank import ITEM, USER
from recsys.metarank_sources import read_metarank
from recsys.progress import progress
from recsys.pseudonyms import Pseudonyms
from recsys.readers import Source, read_source
from recsys.runner import Runner
from recsys.schema import EVENT_ID, EVENT_TIME, ITEM_ID
from recsys.sharded_events import ShardedEvents, checked_in_shards
from recsys.tables import (
    INGEST_LOCK,
    merged_items,
    merged_users,
    publish,
    read_items,
    read_users,
    supersede_changes,
)
from recsys.validation import Checked, check_events, check_items, check_users
from recsys.workspace import Workspace, atomic_path

__all__ = ["FORMATS", "IngestSummary", "TableSummary", "ingest", "read_items", "read_users"]

_OWN, _METARANK = "recsys", "metarank"
FORMATS: Final = (_OWN, _METARANK)
"""Input formats that ``ingest`` reads: tables in the schema's own columns, or Metarank's event log."""

_SURELY_LATER = 1980
_ITEMS, _USERS, _EVENTS = "items", "users", "events"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class TableSummary:
    """What became of the rows of one table: ``read = accepted + rejected + duplicates``."""

    read: int
    accepted: int
    rejected: int
    duplicates: int
    """Events whose id came before, in the file or in the log; in Metarank's format also item and user events
    that became part of one row with others."""
    reasons: dict[str, int]
    """Rejected rows per reason, most frequent first."""
    rejects: str | None
    """File with the rejected rows and a reason for each, or ``None`` when there are none."""
    ignored_columns: tuple[str, ...]
    """Columns that the contract has no place for; their values were not kept."""


_NOT_GIVEN = TableSummary(0, 0, 0, 0, {}, None, ())


@dataclass(frozen=True)
class IngestSummary:
    """What one ingest did; of items or events that were not given, no rows were read."""

    items: TableSummary
    events: TableSummary
    users: TableSummary | None
    """``None`` when none were given."""
    seconds: float
    """Wall time."""

    def to_json(self) -> str:
        """One JSON document with the fields of this class."""
        return json.dumps(asdict(self))


def ingest(
    workspace: Workspace,
    items: Path | None,
    events: Path | None,
    users: Path | None = None,
    *,
    format: str = "recsys",  # noqa: A002 (the command line's word for it)
    now_ms: int | None = None,
    max_reject_share: float = 0.05,
    runner: Runner | None = None,
) -> IngestSummary:
    """Check and publish items, events and users.

    Args:
        workspace: Where they go.
        items: Parquet, CSV, JSON Lines, gzip of these, or a directory of them; ``None`` for no new ones, then
            events name those that are there. In Metarank's format, which is JSON Lines only, item events may
            lie among the others.
        events: The same, or ``None`` for no new ones.
        users: The same, or ``None`` for no new ones.
        format: What the files say, one of ``FORMATS``; it is that of them all.
        now_ms: The time in milliseconds since the epoch, by default the machine's.
        max_reject_share: Largest share of rejected rows, per table, with which anything is published, from 0
            to 1.
        runner: Where the events are worked on, in parts; in this process and whole when absent. Then the
            files and the workspace lie under the same path for whoever works on them.

    Raises:
        CatalogueError: What was changed live cannot be read or written.
        ConfigError: ``format`` or ``max_reject_share`` is none that is supported, or no file is given.
        DataError: A file or column cannot be read, there are events and were never any items, or too many
            rows are bad; then nothing is published.
    """
    started = time.monotonic()
    if format not in FORMATS:
        raise ConfigError(f"format {format!r} is not supported, expected one of: {', '.join(FORMATS)}")
    if not 0 <= max_reject_share <= 1:
        raise ConfigError(f"the largest share of rejected rows is {max_reject_share}, expected 0 to 1")
    if runner is not None and format != _OWN:
        raise ConfigError(f"--engine local alone reads --format {format}; events are read in parts otherwise")
    named = {_ITEMS: items, _USERS: users, _EVENTS: events}
    paths = {name: path for name, path in named.items() if path is not None}
    if not paths:
        raise ConfigError("no file is given; expected one or more of: --items, --events, --users")
    with exclusive(workspace.root / INGEST_LOCK), ExitStack() as held:
        given = _pseudonymous(workspace, _given_log(paths) if format == _METARANK else _given_tables(paths))
        checked = _check(given)
        tables: dict[str, Checked | ShardedEvents] = {**checked}
        if _EVENTS in given:
            now_ms = WallClock().now_ms() if now_ms is None else now_ms
            check = _check_events(workspace, given[_EVENTS], runner, _item_ids(workspace, checked), now_ms)
            tables[_EVENTS] = held.enter_context(check)
        summaries = {name: _summarise(workspace, name, table) for name, table in tables.items()}
        _refuse_bad(summaries, max_reject_share)
        with progress("publishing"):
            _publish(workspace, checked)
        if _EVENTS in tables:
            _publish_events(workspace, tables[_EVENTS])
    seconds = round(time.monotonic() - started, 3)
    return IngestSummary(
        summaries.get(_ITEMS, _NOT_GIVEN), summaries.get(_EVENTS, _NOT_GIVEN), summaries.get(_USERS), seconds
    )


@dataclass(frozen=True)
class _Given:
    """One table as it was given."""

    path: Path
    read: Callable[[], Source]
    num_merged: int = 0
    """Rows that were given but are part of another row."""
    ignored: tuple[str, ...] = ()
    """Names of values that were given but have no column."""


def _given_tables(paths: Mapping[str, Path]) -> dict[str, _Given]:
    return {name: _Given(path, partial(read_source, path)) for name, path in paths.items()}


def _given_log(paths: Mapping[str, Path]) -> dict[str, _Given]:
    with progress("reading the log"):
        log = read_metarank([paths[name] for name in (_ITEMS, _USERS, _EVENTS) if name in paths])
    anywhere = paths.get(_EVENTS) or next(iter(paths.values()))
    given = {
        _ITEMS: _Given(paths.get(_ITEMS, anywhere), lambda: log.items, log.num_updates[ITEM]),
        _EVENTS: _Given(anywhere, lambda: log.events, ignored=log.ignored_fields),
    }
    found = log.users
    if found is not None:
        given[_USERS] = _Given(paths.get(_USERS, anywhere), lambda: found, log.num_updates[USER])
    return given


def _pseudonymous(workspace: Workspace, given: dict[str, _Given]) -> dict[str, _Given]:
    """The tables with pseudonyms for people's ids, where the configuration says so, in refused rows too."""
    pseudonyms = Pseudonyms.configured(workspace)
    if pseudonyms is None:
        return given

    def read(table: _Given) -> Source:
        return pseudonyms.source(table.read())

    return {
        name: table if name == _ITEMS else replace(table, read=partial(read, table))
        for name, table in given.items()
    }


def _check(given: Mapping[str, _Given]) -> dict[str, Checked]:
    checked = {}
    if _ITEMS in given:
        with progress("checking items"):
            checked[_ITEMS] = _read(given[_ITEMS], check_items)
    if _USERS in given:
        with progress("checking users"):
            checked[_USERS] = _read(given[_USERS], check_users)
    return checked


def _item_ids(workspace: Workspace, checked: Mapping[str, Checked]) -> pl.Series:
    """Of the catalogue as it will be."""
    if _ITEMS not in checked:
        return read_items(workspace)[ITEM_ID]
    return merged_items(workspace, checked[_ITEMS].accepted)[ITEM_ID]


@contextmanager
def _check_events(
    workspace: Workspace, given: _Given, runner: Runner | None, item_ids: pl.Series, now_ms: int
) -> Iterator[Checked | ShardedEvents]:
    if runner is not None:
        with checked_in_shards(runner, workspace, given.path, item_ids, now_ms) as in_shards:
            _warn_of_seconds(in_shards.last_year)
            yield in_shards
        return
    with progress("checking events"):
        in_file = _read(given, lambda source: check_events(source, item_ids, now_ms))
        _warn_of_seconds(in_file.accepted.select(pl.col(EVENT_TIME).dt.year().max()).item())
        checked = _without_logged(in_file, EventLog(workspace.events))
    yield checked


def _warn_of_seconds(last_year: int | None) -> None:
    if last_year is not None and last_year < _SURELY_LATER:
        _log.warning("all events lie before 1980: whole numbers are read as milliseconds, not as seconds")


def _read(given: _Given, check: Callable[[Source], Checked]) -> Checked:
    source = given.read()
    try:
        checked = check(source)
    except DataError as error:
        raise DataError(f"{given.path}: {error}") from error
    return replace(
        checked,
        num_duplicates=checked.num_duplicates + given.num_merged,
        ignored_columns=(*checked.ignored_columns, *given.ignored),
    )


def _without_logged(checked: Checked, log: EventLog) -> Checked:
    ids = log.event_ids().to_frame()
    new = checked.accepted.join(ids, on=EVENT_ID, how="anti", maintain_order="left")
    num_logged = checked.accepted.height - new.height
    return replace(checked, accepted=new, num_duplicates=checked.num_duplicates + num_logged)


def _summarise(workspace: Workspace, name: str, checked: Checked | ShardedEvents) -> TableSummary:
    if checked.ignored_columns:
        _log.warning("columns ignored", table=name, columns=list(checked.ignored_columns))
    reasons = checked.rejects[REASON].value_counts(sort=True)
    return TableSummary(
        read=checked.num_accepted + checked.rejects.height + checked.num_duplicates,
        accepted=checked.num_accepted,
        rejected=checked.rejects.height,
        duplicates=checked.num_duplicates,
        reasons=dict(reasons.iter_rows()),
        rejects=_write_rejects(workspace, name, checked.rejects),
        ignored_columns=checked.ignored_columns,
    )


def _write_rejects(workspace: Workspace, name: str, rejects: pl.DataFrame) -> str | None:
    if rejects.is_empty():
        return None
    path = workspace.rejects / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}.parquet"
    with atomic_path(path) as unfinished:
        rejects.write_parquet(unfinished)
    return str(path)


def _refuse_bad(summaries: Mapping[str, TableSummary], max_reject_share: float) -> None:
    bad = [
        f"{table.rejected} of {table.read} {name} were rejected ({_in_words(table.reasons)}), "
        f"see {table.rejects}"
        for name, table in summaries.items()
        if table.rejected > max_reject_share * table.read
    ]
    if bad:
        raise DataError(
            f"nothing was published: {'; '.join(bad)}; at most {max_reject_share:.1%} of a table may be bad"
        )


def _in_words(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in reasons.items())


def _publish(workspace: Workspace, checked: Mapping[str, Checked]) -> None:
    if _ITEMS in checked:
        items = checked[_ITEMS].accepted
        publish(workspace.items, merged_items(workspace, items))
        supersede_changes(workspace, items)
    if _USERS in checked:
        publish(workspace.users, merged_users(workspace, checked[_USERS].accepted))


def _publish_events(workspace: Workspace, taken: Checked | ShardedEvents) -> None:
    if isinstance(taken, ShardedEvents):
        taken.publish()
    elif not taken.accepted.is_empty():
        events = taken.accepted
        digest = hashlib.sha256("\n".join(events[EVENT_ID]).encode()).hexdigest()
        with progress("publishing events"):
            log_for_appends(workspace).append(events, f"ingest-{digest[:32]}")
