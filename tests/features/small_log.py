"""Five items, hand-made fitted parts, and both evaluations of the features over any log."""

from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType

import numpy as np
import polars as pl
import torch
from jaxtyping import Float64

from features.log import POSITION, OfflineLog
from features.moments import offline_moments
from features.registry import names, offline_matrix, online_matrix
from recsys.als import ItemFactors
from recsys.calibration import Calibration
from recsys.catalogue import Catalogue
from recsys.config import Config, EncoderConfig, StateConfig
from recsys.encoder import UserTower
from recsys.index import VectorIndex
from recsys.influence import refused
from recsys.item_history import ItemHistory
from recsys.item_state import ItemState
from recsys.item_tables import ItemTables
from recsys.moment import Moment, Parts
from recsys.neighbours import Neighbours
from recsys.resemblance import Resemblance
from recsys.schema import (
    AS_OF,
    BRAND,
    CATEGORY,
    DAY_MS,
    EVENT_TYPE_CODES,
    ITEM_ID,
    QUERY_ID,
    TITLE,
    USER_ID,
)
from recsys.user_items import user_items
from recsys.user_state import UserState
from tests.recsys.small_catalogue import NOW, Event, events_frame, items_frame

APPLE, BREAD, CUP, DATE, EGG = ITEM_IDS = ("apple", "bread", "cup", "date", "egg")
FRUIT = ["food", "fruit"]
CATALOGUE = Catalogue(
    items_frame(
        {ITEM_ID: APPLE, TITLE: "apple", CATEGORY: FRUIT, BRAND: "farm"},
        {ITEM_ID: BREAD, TITLE: "bread", CATEGORY: ["food", "bakery"]},
        {ITEM_ID: CUP, TITLE: "cup", BRAND: "clay"},
        {ITEM_ID: DATE, TITLE: "date", CATEGORY: FRUIT},
        {ITEM_ID: EGG, TITLE: "egg", CATEGORY: ["food"], BRAND: "farm"},
    )
)
CONFIG = Config(
    state=StateConfig(half_lives_days=(1.0, 2.0, 4.0), max_age_days=30.0),
    encoder=EncoderConfig(dimension=8, history_length=3),
)
"""Weights are the defaults: purchase 1, like 0.5, click 0.3, view 0.1, dislike -1, impression 0."""

TICK_MS = round(CONFIG.state.tick.total_seconds() * 1000)

Query = tuple[str, int]
"""User and as-of."""


def hand_made_parts(config: Config = CONFIG, fitted_until_ms: int = 0) -> Parts:
    """Parts that can be told by heart.

    Every item's vector is an axis of its own; the pretrained encoder takes a date for an apple. The interest
    vector is the mean of the recent items' vectors, newer ones weighing more.
    """
    vectors = np.zeros((len(ITEM_IDS), config.encoder.dimension), np.int8)
    np.fill_diagonal(vectors, 127)
    words = vectors[[0, 1, 2, 0, 4]]
    tower = UserTower(config.encoder.dimension).eval()
    torch.nn.init.zeros_(tower.content.weight)
    torch.nn.init.zeros_(tower.content.bias)
    return Parts(
        config=config,
        catalogue=CATALOGUE,
        index=VectorIndex(vectors, CATALOGUE),
        words=VectorIndex(words, CATALOGUE),
        user_tower=tower,
        tables=hand_made_tables(len(config.state.half_lives_days), fitted_until_ms),
        calibration=Calibration(2.0, -1.0, fitted_until_ms),
        encoder_fitted_until_ms=fitted_until_ms,
    )


def hand_made_tables(num_half_lives: int, fitted_until_ms: int) -> ItemTables:
    """Tables that can be told by heart.

    An apple goes with dates (0.5) and bread (0.25), is followed by an egg (0.5) and speaks for dates (0.25)
    in EASE; a cup is followed by dates (0.5) and speaks for eggs (1).
    Apples (1) and bread (0.5) have a factor. A cup reads like an apple (0.25) and bread (0.75), dates like
    an apple (0.75) and bread (0.25), apples and bread like each other, an egg like dates.
    The n-th item, from 0, won n users by
    the shortest half-life, 10 + n by the next, and so on, and a hundred more of them newcomers.
    """
    won = np.add.outer(10.0 * np.arange(num_half_lives), np.arange(len(ITEM_IDS))).astype(np.float32)
    nan = np.nan
    return ItemTables(
        co_occurrence=neighbours({(APPLE, DATE): 0.5, (APPLE, BREAD): 0.25}, fitted_until_ms),
        following=neighbours({(APPLE, EGG): 0.5, (CUP, DATE): 0.5}, fitted_until_ms),
        ease=neighbours({(APPLE, DATE): 0.25, (CUP, EGG): 1.0}, fitted_until_ms),
        als=ItemFactors(
            items=np.asarray([0, 1]),
            vectors=np.asarray([[1.0], [0.5]], np.float32),
            inner=np.asarray([[2.0]]),
            fitted_until_ms=fitted_until_ms,
        ),
        resemblance=Resemblance(
            neighbours=np.asarray([[0, 1], [0, 1], [0, 1], [0, 1], [3, 4]], np.int32),
            weights=np.asarray([[0.5, 0.5], [0.5, 0.5], [0.25, 0.75], [0.75, 0.25], [1, 0]], np.float32),
            text_of_item=CATALOGUE.text_of_item,
            unknown=np.asarray([2, 3, 4]),
            fitted_until_ms=fitted_until_ms,
        ),
        history=ItemHistory(
            adoption=won,
            newcomers=won + 100,
            users=np.asarray([8, 4, 2, 1, 0], np.float32),
            first_ms=np.asarray([NOW - days * DAY_MS for days in (40, 30, 20, 10)] + [0]),
            rebuy_rate=np.asarray([0.5, 0.25, nan, 0.125, nan], np.float32),
            gap_days=np.asarray([4, 8, nan, nan, nan], np.float32),
            price=np.asarray([2, 3, nan, 8, 0], np.float32),
            recent_price=np.asarray([3, 3, nan, nan, 1], np.float32),
            fitted_until_ms=fitted_until_ms,
        ),
    )


def neighbours(strengths: Mapping[tuple[str, str], float], fitted_until_ms: int) -> Neighbours:
    """A table from what each item says for another."""
    rows = sorted((ITEM_IDS.index(i), ITEM_IDS.index(j), s) for (i, j), s in strengths.items())
    sources, targets, weights = (np.asarray(column) for column in zip(*rows, strict=True))
    starts = np.searchsorted(sources, np.arange(len(ITEM_IDS) + 1))
    return Neighbours(starts, targets.astype(np.int32), weights.astype(np.float32), fitted_until_ms)


def query_frame(queries: Sequence[Query]) -> pl.DataFrame:
    """Queries as ``OfflineLog`` takes them."""
    schema = {USER_ID: pl.String(), AS_OF: pl.Int64()}
    numbered = pl.DataFrame(list(queries), schema=schema, orient="row").with_row_index(QUERY_ID)
    return numbered.with_columns(pl.col(QUERY_ID).cast(pl.Int64))


def pair_frame(num_queries: int) -> pl.DataFrame:
    """Every query with every item, query by query."""
    query_ids, positions = np.divmod(np.arange(num_queries * len(ITEM_IDS)), len(ITEM_IDS))
    return pl.DataFrame({QUERY_ID: query_ids, POSITION: positions})


def offline_log(events: Iterable[Event], queries: Sequence[Query], config: Config = CONFIG) -> OfflineLog:
    """The log as of some queries."""
    return OfflineLog.of(events_frame(events), query_frame(queries), CATALOGUE, config)


def offline_rows(
    events: Iterable[Event], queries: Sequence[Query], parts: Parts
) -> Float64[np.ndarray, "rows features"]:
    """All features of every query with every item, in Polars from the log."""
    events = list(events)
    log = offline_log(events, queries, parts.config)
    moments = dict(offline_moments(log, parts, events_frame(events)))
    return offline_matrix(log, pair_frame(len(queries)), moments)


def online_moment(events: Iterable[Event], query: Query, parts: Parts) -> Moment:
    """A moment as a server holds it: the events before it were applied one by one, in the order given."""
    user_id, as_of_ms = query
    state, items = UserState(parts.config.state.half_lives_days), ItemState(CATALOGUE, parts.config.state)
    events = list(events)
    uncounted = set(refused(events_frame(events), parts.config.state))
    for number, (who, item_id, name, time_ms) in enumerate(events):
        if time_ms >= as_of_ms:
            continue
        code = EVENT_TYPE_CODES[name]
        if str(number).zfill(9) not in uncounted:
            items.record(CATALOGUE.position[item_id], code, time_ms)
        items.popularity(min(time_ms, as_of_ms - TICK_MS))  # a request before the last tick reads it too
        if who == user_id and name in parts.config.state.remembered:
            state.apply(item_id, code, time_ms, is_purchase=name == "purchase", max_rows=1_000)
    user = user_items(state, CATALOGUE, parts.config, as_of_ms)
    return Moment(parts, as_of_ms, user, items.popularity(as_of_ms))


def online_rows(
    events: Iterable[Event], queries: Sequence[Query], parts: Parts
) -> Float64[np.ndarray, "rows features"]:
    """All features of every query with every item, in NumPy from the online state."""
    events, everything = list(events), np.arange(len(ITEM_IDS))
    moments = [online_moment(events, query, parts) for query in queries]
    return np.concatenate([online_matrix(moment, everything) for moment in moments])


def both_sides(
    family: ModuleType, events: Iterable[Event], *, as_of_ms: int = NOW
) -> Mapping[str, Mapping[str, float]]:
    """A family's features for ``ann``, by item and name; online and offline must say the same."""
    events = list(events)
    online = family.online(
        online_moment(events, ("ann", as_of_ms), hand_made_parts()), np.arange(len(ITEM_IDS))
    )
    log = offline_log(events, [("ann", as_of_ms)])
    offline = family.offline(log, pair_frame(1).lazy()).collect().fill_null(np.nan).to_numpy()
    np.testing.assert_allclose(online, offline, rtol=1e-9, atol=1e-12)
    return by_item([feature.name for feature in family.features(CONFIG.state)], online)


def online_side(family: ModuleType, events: Iterable[Event]) -> Mapping[str, Mapping[str, float]]:
    """The same for a family that has an online side alone."""
    online = family.online(online_moment(events, ("ann", NOW), hand_made_parts()), np.arange(len(ITEM_IDS)))
    return by_item([feature.name for feature in family.features(CONFIG.state)], online)


def by_item(
    columns: Sequence[str], matrix: Float64[np.ndarray, "items features"]
) -> Mapping[str, Mapping[str, float]]:
    """Values by item id and feature name."""
    rows = (dict(zip(columns, row, strict=True)) for row in matrix.tolist())
    return dict(zip(ITEM_IDS, rows, strict=True))


FEATURE_NAMES = names(CONFIG.state)
