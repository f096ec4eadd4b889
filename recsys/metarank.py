"""Reads Metarank's event format: JSON Lines of ``item``, ``user``, ``ranking`` and ``interaction`` events.

A line is read as what it says, or refused with a reason; nothing is interpreted here. What the lines mean in
this project's own columns is the business of ``recsys.metarank_sources``.

Source: Metarank's documentation of its event format. Numbers are taken for ids too, and a time may be a whole
number, a text of digits (both milliseconds since 1970) or ISO 8601.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import polars as pl
from pydantic import BaseModel, Field, JsonValue, TypeAdapter, ValidationError

from recsys.columns import REASON, conform
from recsys.errors import DataError
from recsys.readers import REJECT_SCHEMA, read_lines
from recsys.schema import EVENT_ID, EVENT_TIME, EVENT_TYPE, ITEM_ID, LIST_ID, SESSION_ID, TIMESTAMP, USER_ID

ITEM: Final = "item"
USER: Final = "user"
RANKING: Final = "ranking"
INTERACTION: Final = "interaction"
KINDS: Final = (ITEM, USER, RANKING, INTERACTION)
"""What a line can be, by its ``event``."""

LINE: Final = "line"
"""Number of the line, from 0, over all files."""
FIELDS: Final = "fields"
NAME: Final = "name"
VALUE: Final = "value"
"""A field's value as text; a list's values are joined with ``", "``."""
VALUES: Final = "values"
"""The values of a field that is a list, null for any other."""
SHOWN: Final = "shown"
"""Item ids of a ranking, first place first."""

_FIELDS_TYPE = pl.List(pl.Struct({NAME: pl.String(), VALUE: pl.String(), VALUES: pl.List(pl.String())}))
_COMMON: Final = {LINE: pl.Int64(), EVENT_TIME: pl.String(), FIELDS: _FIELDS_TYPE}
_EMPTY: Final = {
    kind: pl.DataFrame(schema={**_COMMON, **dict.fromkeys(texts, pl.String()), **others})
    for kind, texts, others in (
        (ITEM, (ITEM_ID,), {}),
        (USER, (USER_ID,), {}),
        (RANKING, (LIST_ID, USER_ID, SESSION_ID), {SHOWN: pl.List(pl.String())}),
        (INTERACTION, (EVENT_ID, EVENT_TYPE, USER_ID, ITEM_ID, SESSION_ID, LIST_ID), {}),
    )
}

_Id = Annotated[str, Field(coerce_numbers_to_str=True)]
_Row = tuple[object, ...]


class _Field(BaseModel):
    name: str
    value: JsonValue = None

    def row(self) -> dict[str, object]:
        if not isinstance(self.value, list):
            return {NAME: self.name, VALUE: None if self.value is None else _text(self.value), VALUES: None}
        values = [_text(value) for value in self.value if value is not None]
        return {NAME: self.name, VALUE: ", ".join(values), VALUES: values}


class _Line(BaseModel):
    timestamp: int | _Id
    fields: list[_Field] = []

    def field_rows(self) -> list[dict[str, object]]:
        return [field.row() for field in self.fields]


class _Item(_Line):
    event: Literal["item"]
    item: _Id

    def row(self) -> _Row:
        return (self.item,)


class _User(_Line):
    event: Literal["user"]
    user: _Id

    def row(self) -> _Row:
        return (self.user,)


class _Shown(BaseModel):
    id: _Id


class _Ranking(_Line):
    event: Literal["ranking"]
    id: _Id
    items: Annotated[list[_Shown], Field(min_length=1)]
    user: _Id | None = None
    session: _Id | None = None

    def row(self) -> _Row:
        return self.id, self.user, self.session, [shown.id for shown in self.items]


class _Interaction(_Line):
    event: Literal["interaction"]
    item: _Id
    type: str
    id: _Id | None = None
    user: _Id | None = None
    session: _Id | None = None
    ranking: _Id | None = None

    def row(self) -> _Row:
        return self.id, self.type, self.user, self.item, self.session, self.ranking


_Event = _Item | _User | _Ranking | _Interaction
_PARSER: Final[TypeAdapter[_Event]] = TypeAdapter(Annotated[_Event, Field(discriminator="event")])


@dataclass(frozen=True)
class MetarankLog:
    """What was read, by what the lines are; the keys are ``KINDS``, all of them.

    Every table has ``line``, ``event_time`` (``datetime[ms, UTC]``) and ``fields``
    (``list[struct[name, value, values]]``). Items have ``item_id``; users ``user_id``; rankings ``list_id``,
    ``user_id``, ``session_id`` and ``shown``; interactions ``event_id``, ``event_type``, ``user_id``,
    ``item_id``, ``session_id`` and ``list_id``. All of these are text as the lines give it.
    """

    tables: Mapping[str, pl.DataFrame]
    refused: Mapping[str, pl.DataFrame]
    """Refused lines; columns of ``recsys.readers.REJECT_SCHEMA``. Lines of no kind count as interactions."""


def read_log(paths: Sequence[Path]) -> MetarankLog:
    """Read files, or directories of them, as one log.

    Args:
        paths: JSON Lines, possibly gzipped.

    Raises:
        DataError: A file cannot be read, is of another kind, or no line of any is an event of Metarank's.
    """
    lines = [line for path in paths for line in read_lines(path)]
    rows: dict[str, list[_Row]] = defaultdict(list)
    refused: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for number, line in enumerate(lines):
        try:
            event = _PARSER.validate_json(line)
        except ValidationError as error:
            kind, reason = _complaint(error)
            refused[kind].append((_as_json(line), reason))
        else:
            rows[event.event].append((number, str(event.timestamp), event.field_rows(), *event.row()))
    if not rows:
        raise DataError(
            f"{', '.join(map(str, paths))}: no line is an event of Metarank's ({', '.join(KINDS)}); "
            f"the first of {len(lines)} says: {next(iter(refused.values()))[0][1]}"
        )
    tables = {kind: _table(rows[kind], _EMPTY[kind]) for kind in KINDS}
    return MetarankLog(
        {kind: table.filter(pl.col(REASON).is_null()).drop(REASON) for kind, table in tables.items()},
        {kind: _refused(refused[kind], table, lines) for kind, table in tables.items()},
    )


def _table(rows: list[_Row], empty: pl.DataFrame) -> pl.DataFrame:
    table = pl.DataFrame(rows, empty.schema, orient="row")
    timed = conform(table, pl.DataFrame(schema={EVENT_TIME: TIMESTAMP}), [EVENT_TIME])
    missing = pl.when(pl.col(EVENT_TIME).is_null()).then(pl.lit(f"{EVENT_TIME} is missing"))
    return table.with_columns(timed.with_columns(pl.coalesce(REASON, missing)))


def _refused(found: list[tuple[str, str]], table: pl.DataFrame, lines: Sequence[bytes]) -> pl.DataFrame:
    late = table.filter(pl.col(REASON).is_not_null()).select(LINE, REASON).iter_rows()
    rows = [*found, *((lines[number].decode(), reason) for number, reason in late)]
    return pl.DataFrame(rows, REJECT_SCHEMA, orient="row")


def _complaint(error: ValidationError) -> tuple[str, str]:
    """The kind of a refused line, and in words why it is refused."""
    first = error.errors(include_url=False, include_input=False)[0]
    kind, *where = first["loc"] or (INTERACTION,)
    if first["type"] in {"json_invalid", "dict_type"}:
        return INTERACTION, "line is not a JSON object"
    if first["type"].startswith("union_tag"):
        return INTERACTION, f"event is not one of {', '.join(KINDS)}"
    path = ".".join(part for part in where if isinstance(part, str))
    return str(kind), f"{path}: {first['msg']}"


def _as_json(line: bytes) -> str:
    """The line itself where it is JSON, otherwise its characters as a JSON text."""
    text = line.decode(errors="replace")
    try:
        json.loads(text)
    except ValueError:
        return json.dumps(text)
    return text


def _text(value: JsonValue) -> str:
    """A value as text; a float that is whole without its fraction, an object as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return json.dumps(value, ensure_ascii=False)
