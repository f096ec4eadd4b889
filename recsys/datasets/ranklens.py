"""RankLens: films shown in lists of 24 to crowd workers, and which of them they clicked (CC BY-SA 4.0).

The data are Metarank's; they come as its event log, or as three tables made of it. Their times are
placeholders: 9,800 lists in 21 minutes, every click 5 seconds after its list. Only the order means anything,
so the lists are spaced by it: list k is shown k hours after the start of 2021, and its clicks follow second
by second. An hour is longer than the tick of the item aggregates, so each list meets the state that the list
before it left behind; and the last of 9,800 lists, in February 2022, lies before every clock.

What a film is about lies in ``tags``, from the general to the particular: genres, viewers' tags, actors,
director, writer. The same words by kind are attributes, together with the film's numbers. TMDB writes 0 for
an unknown budget; here it is absent. Films that are shown but not described get a title of their id.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from recsys.attributes import extra_attributes
from recsys.datasets.tables import Tables, completed, read_parquet
from recsys.errors import ConfigError, DataError
from recsys.metarank import INTERACTION, ITEM, RANKING, SHOWN, read_log
from recsys.metarank_sources import field_columns, latest_fields
from recsys.schema import (
    ATTRIBUTES,
    AVAILABLE,
    CREATED_TIME,
    DESCRIPTION,
    EVENT_ID,
    EVENT_SCHEMA,
    EVENT_TIME,
    EVENT_TYPE,
    ITEM_ID,
    ITEM_SCHEMA,
    LIST_ID,
    POSITION,
    RECEIVED_TIME,
    SESSION_ID,
    TAGS,
    TIMESTAMP,
    TITLE,
    USER_ID,
)

_NAME = "RankLens"
_START: Final = datetime(2021, 1, 1, tzinfo=UTC)
_BETWEEN_LISTS_MS: Final = 60 * 60 * 1000
_BETWEEN_CLICKS_MS: Final = 1000

_TABLES: Final = ("impressions", "clicks", "items")
_LOG: Final = "events.jsonl.gz"
_LISTS: Final = ("genres", "tags", "actors")
_TEXTS: Final = (TITLE, DESCRIPTION, "director", "writer")
_DECIMALS: Final = ("popularity", "vote_avg")
_COUNTS: Final = ("vote_cnt", "budget", "runtime")
_RELEASE: Final = "release_date"
_NUMBERS: Final = (*_DECIMALS, *_COUNTS, _RELEASE)


class _Files(NamedTuple):
    """The three tables, with the names that RankLens gives their columns."""

    lists: pl.DataFrame
    clicks: pl.DataFrame
    films: pl.DataFrame


def read(source: Path | None = None) -> Tables:
    """Read the data set.

    Args:
        source: Metarank's log, a directory with it as ``events.jsonl.gz``, or one with
            ``impressions.parquet`` (``ranking_id``, ``user_id``, ``session_id``, ``ts_ms``, ``items`` in the
            order shown), ``clicks.parquet`` (``ranking_id``, ``ts_ms``, ``item_id``) and ``items.parquet``.
            The data set comes with no package.

    Raises:
        ConfigError: No source was given.
        DataError: A file is missing or damaged, lacks a column, or has a line that is no event.
    """
    if source is None:
        raise ConfigError("ranklens comes with no package: give its log or its tables with --source")
    try:
        lists, clicks, films = _from_tables(source) if _is_tables(source) else _from_log(source)
        impressions = _impressions(lists)
        events = pl.concat([impressions, _clicks(clicks, impressions)]).sort(EVENT_TIME, maintain_order=True)
        return Tables(_items(films, impressions), completed(events, pl.DataFrame(schema=EVENT_SCHEMA)))
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{source} does not hold {_NAME}'s columns: {error}") from error


def _is_tables(source: Path) -> bool:
    return source.is_dir() and any((source / f"{name}.parquet").exists() for name in _TABLES)


def _from_tables(directory: Path) -> _Files:
    return _Files(*(read_parquet(directory / f"{name}.parquet", _NAME) for name in _TABLES))


def _from_log(source: Path) -> _Files:
    log = read_log([source / _LOG if source.is_dir() else source])
    num_refused = sum(refused.height for refused in log.refused.values())
    if num_refused:
        raise DataError(f"{source} is not {_NAME}'s log: {num_refused} lines are no events of Metarank's")
    names = {LIST_ID: "ranking_id", SHOWN: "items"}
    time = pl.col(EVENT_TIME).dt.timestamp("ms").alias("ts_ms")
    fields = latest_fields(log.tables[ITEM], ITEM_ID)
    films = field_columns(fields, ITEM_ID, texts=[*_TEXTS, *_NUMBERS], lists=_LISTS)
    return _Files(
        log.tables[RANKING].with_columns(time).rename(names),
        log.tables[INTERACTION].with_columns(time).rename({LIST_ID: "ranking_id"}),
        films.with_columns(pl.col(_NUMBERS).cast(pl.Float64)),
    )


def _impressions(lists: pl.DataFrame) -> pl.DataFrame:
    placed = lists.sort("ts_ms", "ranking_id").with_columns(place=pl.int_range(pl.len()))
    position = pl.int_range(pl.len(), dtype=pl.Int32).over("place").alias(POSITION)
    shown = placed.explode("items", empty_as_null=False).with_columns(position)
    time = pl.lit(_START, TIMESTAMP) + pl.duration(milliseconds=pl.col("place") * _BETWEEN_LISTS_MS)
    return shown.select(
        pl.format("{}/{}", "ranking_id", POSITION).alias(EVENT_ID),
        pl.lit("impression").alias(EVENT_TYPE),
        USER_ID,
        pl.col("items").alias(ITEM_ID),
        time.alias(EVENT_TIME),
        SESSION_ID,
        pl.col("ranking_id").alias(LIST_ID),
        POSITION,
        time.alias(RECEIVED_TIME),
    )


def _clicks(clicks: pl.DataFrame, impressions: pl.DataFrame) -> pl.DataFrame:
    """Clicks as the impressions that they follow, one second after the other."""
    clicked = clicks.sort("ts_ms", maintain_order=True).select(
        ITEM_ID, pl.col("ranking_id").alias(LIST_ID), nth=pl.int_range(1, pl.len() + 1).over("ranking_id")
    )
    later = pl.duration(milliseconds=pl.col("nth") * _BETWEEN_CLICKS_MS)
    return impressions.join(clicked, on=[LIST_ID, ITEM_ID], how="inner").select(
        pl.format("{}/click", EVENT_ID).alias(EVENT_ID),
        pl.lit("click").alias(EVENT_TYPE),
        USER_ID,
        ITEM_ID,
        (pl.col(EVENT_TIME) + later).alias(EVENT_TIME),
        SESSION_ID,
        LIST_ID,
        POSITION,
        (pl.col(RECEIVED_TIME) + later).alias(RECEIVED_TIME),
    )


def _items(films: pl.DataFrame, impressions: pl.DataFrame) -> pl.DataFrame:
    undescribed = impressions.select(ITEM_ID).unique().join(films, on=ITEM_ID, how="anti")
    every = pl.concat([films, undescribed], how="diagonal").sort(ITEM_ID)
    released = pl.from_epoch(pl.col(_RELEASE).cast(pl.Int64), time_unit="s").dt.replace_time_zone("UTC")
    is_past = pl.col(_RELEASE).is_between(0, _START.timestamp())
    words = pl.concat_list(
        *(pl.col(name).fill_null([]) for name in _LISTS),
        *(pl.concat_list(name).list.drop_nulls() for name in ("director", "writer")),
    ).list.unique(maintain_order=True)
    items = every.select(
        ITEM_ID,
        pl.coalesce(TITLE, pl.format("Film {}", ITEM_ID)).alias(TITLE),
        DESCRIPTION,
        pl.when(words.list.len() > 0).then(words).alias(TAGS),
        pl.lit(value=True).alias(AVAILABLE),
        pl.when(is_past).then(released).cast(TIMESTAMP).alias(CREATED_TIME),
        extra_attributes(_known(every, is_past), known=()).alias(ATTRIBUTES),
    )
    return completed(items, pl.DataFrame(schema=ITEM_SCHEMA))


def _known(films: pl.DataFrame, is_past: pl.Expr) -> pl.DataFrame:
    """What becomes an attribute, in a column each."""
    return films.select(
        pl.col("genres").alias("genre"),
        pl.col("tags").alias("tag"),
        "actors",
        "director",
        "writer",
        *_DECIMALS,
        *(pl.when(pl.col(name) > 0).then(pl.col(name)).cast(pl.Int64) for name in _COUNTS),
        pl.when(~is_past).then(pl.col(_RELEASE)).cast(pl.Int64),
    )
