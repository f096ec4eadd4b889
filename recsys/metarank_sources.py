"""Metarank's log in this project's own columns, as rows that are yet to be checked.

A ranking becomes an impression per item shown, with its list and position. An interaction becomes an event of
the type that its name means, at the position where its list showed the item; a name that means none is left
as it is, and the check refuses it. Item and user events are updates: of every field the latest value holds.
Fields that the schema names become its columns, all others attributes. Fields of a ranking, and what it says
of its items besides their ids, have no place in an event.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import polars as pl

from recsys.metarank import (
    FIELDS,
    INTERACTION,
    ITEM,
    LINE,
    NAME,
    RANKING,
    SHOWN,
    USER,
    VALUE,
    VALUES,
    MetarankLog,
    read_log,
)
from recsys.readers import Source
from recsys.schema import (
    ATTRIBUTES,
    CATEGORY,
    EVENT_ID,
    EVENT_SCHEMA,
    EVENT_TIME,
    EVENT_TYPE,
    EVENT_TYPES,
    ITEM_ID,
    ITEM_SCHEMA,
    LIST_ID,
    POSITION,
    PRICE,
    QUANTITY,
    TEXT,
    UPDATED_TIME,
    USER_ID,
    USER_SCHEMA,
)

_LISTS: Final = tuple(name for name, found in ITEM_SCHEMA.items() if found == pl.List(pl.String))
_TEXTS: Final = tuple(name for name in ITEM_SCHEMA if name not in {ITEM_ID, ATTRIBUTES, *_LISTS})
_OF_EVENTS: Final = (QUANTITY, PRICE, TEXT)
"""Fields of an interaction that an event has a column for."""

_SYNONYMS: Final = {
    "addtocart": "add_to_cart",
    "add_to_basket": "add_to_cart",
    "cart": "add_to_cart",
    "buy": "purchase",
    "order": "purchase",
    "transaction": "purchase",
    "detail_view": "view",
    "page_view": "view",
    "pageview": "view",
    "favorite": "like",
    "favourite": "like",
    "thumbs_up": "like",
    "thumbs_down": "dislike",
}
"""Names of interactions, in small letters with ``_`` between words, that mean one of ``EVENT_TYPES``."""


@dataclass(frozen=True)
class MetarankSources:
    """The tables of one log."""

    items: Source
    users: Source | None
    """``None`` when the log says nothing of users."""
    events: Source
    num_updates: Mapping[str, int]
    """Item and user events, by ``ITEM`` and ``USER``, that became part of one row with others."""
    ignored_fields: tuple[str, ...]
    """Names of fields of rankings and interactions that events have no column for, sorted."""


def read_metarank(paths: Sequence[Path]) -> MetarankSources:
    """Read files in Metarank's event format.

    Args:
        paths: JSON Lines, possibly gzipped, or directories of them; they are one log.

    Raises:
        DataError: A file cannot be read, or no line of any is an event of Metarank's.
    """
    log = read_log(paths)
    items, users = log.tables[ITEM], log.tables[USER]
    has_users = users.height + log.refused[USER].height > 0
    updates = {ITEM: items.height - items[ITEM_ID].n_unique(), USER: users.height - users[USER_ID].n_unique()}
    return MetarankSources(
        items=Source(_items(items), log.refused[ITEM]),
        users=Source(_users(users), log.refused[USER]) if has_users else None,
        events=Source(_events(log), pl.concat([log.refused[RANKING], log.refused[INTERACTION]])),
        num_updates=MappingProxyType(updates),
        ignored_fields=_ignored(log),
    )


def latest_fields(table: pl.DataFrame, key: str) -> pl.DataFrame:
    """One row per key and field name, with the value that the key's latest line gives it.

    Args:
        table: One of ``MetarankLog.tables``.
        key: The column that says what the fields are of.

    Returns:
        The key, ``name``, ``value`` and ``values``; of lines of one time the last in the file counts.
    """
    return (
        table.sort(EVENT_TIME, maintain_order=True)
        .select(key, FIELDS)
        .explode(FIELDS, empty_as_null=False)
        .unnest(FIELDS)
        .unique([key, NAME], keep="last", maintain_order=True)
    )


def field_columns(
    fields: pl.DataFrame, key: str, texts: Sequence[str] = (), lists: Sequence[str] = ()
) -> pl.DataFrame:
    """One row per key that any field is of, with a column per name.

    Args:
        fields: What ``latest_fields`` returns.
        key: Its first column.
        texts: Fields wanted as text.
        lists: Fields wanted as lists of text; a value that is none is split at commas, a category at ``>``.
    """
    split = {
        name: pl.coalesce(VALUES, pl.col(VALUE).str.split(">" if name == CATEGORY else ",")) for name in lists
    }
    wanted = {**dict.fromkeys(texts, pl.col(VALUE)), **split}
    table = fields.select(key).unique(maintain_order=True)
    for name, column in wanted.items():
        found = fields.filter(pl.col(NAME) == name).select(key, column.alias(name))
        table = table.join(found, on=key, how="left", maintain_order="left")
    return table


def _items(table: pl.DataFrame) -> pl.DataFrame:
    fields = latest_fields(table, ITEM_ID)
    columns = field_columns(fields, ITEM_ID, _TEXTS, _LISTS)
    others = fields.filter(~pl.col(NAME).is_in([*_TEXTS, *_LISTS]))
    return _joined(table, ITEM_ID, columns, _attributes(others, ITEM_ID))


def _users(table: pl.DataFrame) -> pl.DataFrame:
    times = table.group_by(USER_ID).agg(pl.col(EVENT_TIME).max().alias(UPDATED_TIME))
    attributes = _attributes(latest_fields(table, USER_ID), USER_ID)
    return _joined(table, USER_ID, times, attributes).select(USER_SCHEMA.keys())


def _joined(table: pl.DataFrame, key: str, *others: pl.DataFrame) -> pl.DataFrame:
    """The distinct keys in order, with the columns of other tables."""
    joined = table.select(key).unique(maintain_order=True)
    for other in others:
        joined = joined.join(other, on=key, how="left", maintain_order="left")
    return joined


def _attributes(fields: pl.DataFrame, key: str) -> pl.DataFrame:
    said = fields.filter(pl.col(VALUE).str.len_bytes() > 0)
    pair = pl.struct(key=pl.col(NAME), value=pl.col(VALUE))
    return said.group_by(key, maintain_order=True).agg(pair.alias(ATTRIBUTES))


def _events(log: MetarankLog) -> pl.DataFrame:
    impressions = _impressions(log.tables[RANKING])
    events = pl.concat([impressions, _interactions(log.tables[INTERACTION], impressions)], how="diagonal")
    known = [name for name in EVENT_SCHEMA if name in events.columns]
    return events.sort(EVENT_TIME, maintain_order=True).select(known)


def _impressions(rankings: pl.DataFrame) -> pl.DataFrame:
    position = pl.int_range(pl.len(), dtype=pl.Int32).over(LINE)
    return (
        rankings.explode(SHOWN, empty_as_null=False)
        .with_columns(pl.lit("impression").alias(EVENT_TYPE), position.alias(POSITION))
        .with_columns(pl.format("{}/{}", LIST_ID, POSITION).alias(EVENT_ID))
        .rename({SHOWN: ITEM_ID})
        .drop(LINE, FIELDS)
    )


def _interactions(interactions: pl.DataFrame, impressions: pl.DataFrame) -> pl.DataFrame:
    places = impressions.select(LIST_ID, ITEM_ID, POSITION).unique([LIST_ID, ITEM_ID], keep="first")
    told = field_columns(latest_fields(interactions, LINE), LINE, texts=_OF_EVENTS)
    name = pl.col(EVENT_TYPE).str.to_lowercase().str.replace_all(r"[\s-]+", "_").replace(_SYNONYMS)
    return (
        interactions.with_columns(pl.when(name.is_in(EVENT_TYPES)).then(name).otherwise(EVENT_TYPE))
        .join(places, on=[LIST_ID, ITEM_ID], how="left", maintain_order="left")
        .join(told, on=LINE, how="left", maintain_order="left")
        .drop(LINE, FIELDS)
    )


def _ignored(log: MetarankLog) -> tuple[str, ...]:
    names = [latest_fields(log.tables[kind], LINE)[NAME] for kind in (RANKING, INTERACTION)]
    unknown = names[1].filter(~names[1].is_in(_OF_EVENTS))
    return tuple(pl.concat([names[0], unknown]).unique().sort())
