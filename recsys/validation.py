"""The data contract, row by row: which rows are taken, and in words why the others are not."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from recsys.attributes import extra_attributes
from recsys.columns import REASON, conform, is_calendar, is_calendar_time
from recsys.event_ids import with_event_ids
from recsys.readers import ROW, Source
from recsys.schema import (
    ATTRIBUTES,
    AVAILABLE,
    BRAND,
    CATEGORY,
    CREATED_TIME,
    CURRENCY,
    DESCRIPTION,
    EVENT_ID,
    EVENT_SCHEMA,
    EVENT_TIME,
    EVENT_TYPE,
    EVENT_TYPES,
    ITEM_ID,
    ITEM_SCHEMA,
    LANGUAGE,
    LIST_ID,
    MAX_AMOUNT,
    MAX_FUTURE_MS,
    MAX_ID_BYTES,
    MAX_TEXT_CHARS,
    POSITION,
    PRICE,
    QUANTITY,
    RECEIVED_TIME,
    SESSION_ID,
    TAGS,
    TEXT,
    TIMESTAMP,
    TITLE,
    USER_ID,
    USER_SCHEMA,
)

_NO_ITEMS = pl.DataFrame(schema=ITEM_SCHEMA)
_NO_USERS = pl.DataFrame(schema=USER_SCHEMA)
_NO_EVENTS = pl.DataFrame(schema=EVENT_SCHEMA)
_YEAR_1_MS, _YEAR_9999_MS = -62_135_596_800_000, 253_402_300_799_999


@dataclass(frozen=True)
class Checked:
    """The rows of one table, taken and refused."""

    accepted: pl.DataFrame
    """Columns of the table's schema."""
    rejects: pl.DataFrame
    """Columns of ``recsys.readers.REJECT_SCHEMA``."""
    num_duplicates: int = 0
    """Rows left out because their id came before; they are no errors."""
    ignored_columns: tuple[str, ...] = ()
    """Columns that the schema has no place for."""

    @property
    def num_accepted(self) -> int:
        """Rows taken."""
        return self.accepted.height


def check_items(source: Source) -> Checked:
    """Check items; of several with one id the first is taken and the others are refused.

    Raises:
        DataError: A column is missing or has an unreadable type.
    """
    return _split(judge_items(source), source, _NO_ITEMS)


def judge_items(source: Source) -> pl.DataFrame:
    """Every row as an item, and ``reason``: why ``check_items`` refuses it, or null; raises as that does."""
    items = _conform(source, _NO_ITEMS, [ITEM_ID, TITLE]).with_columns(
        pl.col(AVAILABLE).fill_null(value=True)
    )
    rules = [
        *_id_rules(ITEM_ID),
        _rule(f"{TITLE} is missing", pl.col(TITLE).is_null()),
        *(_text_rule(name, pl.col(name)) for name in (TITLE, DESCRIPTION, BRAND, CURRENCY, LANGUAGE)),
        *(_text_rule(name, pl.col(name).list.join("")) for name in (TAGS, CATEGORY)),
        _text_rule(
            ATTRIBUTES, pl.col(ATTRIBUTES).list.eval(pl.element().struct.field("value")).list.join("")
        ),
        *_number_rules(PRICE),
        _rule(
            f"{CREATED_TIME} is no time between the years 1 and 9999",
            ~pl.col(CREATED_TIME).dt.epoch("ms").is_between(_YEAR_1_MS, _YEAR_9999_MS),
        ),
    ]
    return _with_first_only(_judged(items, rules), ITEM_ID)


def check_users(source: Source) -> Checked:
    """Check users; of several with one id the first is taken and the others are refused.

    Raises:
        DataError: A column is missing or has an unreadable type.
    """
    users = _conform(source, _NO_USERS, [USER_ID])
    return _split(_with_first_only(_judged(users, _id_rules(USER_ID)), USER_ID), source, _NO_USERS)


def check_events(source: Source, item_ids: pl.Series, now_ms: int) -> Checked:
    """Check events; of several with one id the first is taken, and the others are counted as duplicates.

    Args:
        source: Events as files gave them.
        item_ids: Ids that an event may name.
        now_ms: The time, in milliseconds since the epoch, that events may pass by 5 minutes at most.

    Raises:
        DataError: A column is missing or has an unreadable type.
    """
    required = [EVENT_TYPE, USER_ID, ITEM_ID, EVENT_TIME]
    events = _conform(source, _NO_EVENTS, required)
    events = events.with_columns(pl.col(RECEIVED_TIME).fill_null(pl.col(EVENT_TIME)))
    latest = pl.lit(now_ms + MAX_FUTURE_MS).cast(TIMESTAMP)
    rules = [
        _too_long(EVENT_ID),
        *_id_rules(USER_ID),
        *_id_rules(ITEM_ID),
        _too_long(SESSION_ID),
        _too_long(LIST_ID),
        _rule(f"{EVENT_TYPE} is missing", pl.col(EVENT_TYPE).is_null()),
        _rule(f"{EVENT_TYPE} is not one of {', '.join(EVENT_TYPES)}", ~pl.col(EVENT_TYPE).is_in(EVENT_TYPES)),
        _rule(f"{EVENT_TIME} is missing", pl.col(EVENT_TIME).is_null()),
        _rule(f"{EVENT_TIME} is more than 5 minutes in the future", pl.col(EVENT_TIME) > latest),
        _rule(f"{ITEM_ID} is not in the catalogue", ~pl.col(ITEM_ID).is_in(item_ids.implode())),
        *_number_rules(QUANTITY),
        *_number_rules(PRICE),
        _rule(f"{POSITION} is negative", pl.col(POSITION) < 0),
        _text_rule(TEXT, pl.col(TEXT)),
    ]
    checked = _split(_judged(events, rules), source, _NO_EVENTS)
    accepted = with_event_ids(checked.accepted)
    unique = accepted.unique(EVENT_ID, keep="first", maintain_order=True)
    ignored = tuple(name for name in source.rows.columns if name not in EVENT_SCHEMA)
    return Checked(unique, checked.rejects, accepted.height - unique.height, ignored)


def _conform(source: Source, empty: pl.DataFrame, required: Sequence[str]) -> pl.DataFrame:
    table = conform(source.rows, empty, required)
    if ATTRIBUTES not in empty.columns:
        return table
    return table.with_columns(extra_attributes(source.rows, empty.columns).alias(ATTRIBUTES))


def _rule(reason: str, is_broken: pl.Expr) -> pl.Expr:
    return pl.when(is_broken).then(pl.lit(reason))


def _too_long(name: str) -> pl.Expr:
    return _rule(f"{name} is longer than {MAX_ID_BYTES} bytes", pl.col(name).str.len_bytes() > MAX_ID_BYTES)


def _id_rules(name: str) -> list[pl.Expr]:
    return [_rule(f"{name} is missing", pl.col(name).is_null()), _too_long(name)]


def _text_rule(name: str, text: pl.Expr) -> pl.Expr:
    return _rule(f"{name} is longer than {MAX_TEXT_CHARS} characters", text.str.len_chars() > MAX_TEXT_CHARS)


def _number_rules(name: str) -> list[pl.Expr]:
    return [
        _rule(f"{name} is not finite", ~pl.col(name).is_finite()),
        _rule(f"{name} is negative", pl.col(name) < 0),
        _rule(f"{name} is above {MAX_AMOUNT:.0e}", pl.col(name) > MAX_AMOUNT),
    ]


def _judged(table: pl.DataFrame, rules: Sequence[pl.Expr]) -> pl.DataFrame:
    return table.with_columns(pl.coalesce(pl.col(REASON), *rules))


def _with_first_only(judged: pl.DataFrame, key: str) -> pl.DataFrame:
    is_first = pl.struct(pl.col(key), pl.col(REASON).is_null()).is_first_distinct()
    return judged.with_columns(
        pl.coalesce(pl.col(REASON), _rule(f"{key} came before in the same data", ~is_first))
    )


def _split(judged: pl.DataFrame, source: Source, empty: pl.DataFrame) -> Checked:
    is_refused = judged[REASON].is_not_null()
    refused = source.rows.filter(is_refused).select(
        pl.struct(_printable(source.rows)).struct.json_encode().alias(ROW)
    )
    rejects = refused.with_columns(judged.filter(is_refused)[REASON])
    return Checked(
        accepted=judged.filter(~is_refused).select(empty.columns),
        rejects=pl.concat([source.unreadable, rejects]),
    )


def _printable(rows: pl.DataFrame) -> list[pl.Expr]:
    """Columns with times that no calendar holds as null, since they cannot be written as text."""
    return [
        pl.when(is_calendar_time(rows, name)).then(pl.col(name)) if is_calendar(rows, name) else pl.col(name)
        for name in rows.columns
    ]
