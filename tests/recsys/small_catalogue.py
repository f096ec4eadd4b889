"""A greengrocer of a dozen items, its log, and bundles that are fitted on it in a moment."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import torch

from features.registry import fingerprint, names
from recsys.bundle import text_vectors, write_bundle
from recsys.calibration import Calibration
from recsys.catalogue import Catalogue
from recsys.config import CandidateConfig, Config, EncoderConfig
from recsys.encoder import TextEncoder, Towers, UserTower, encode_texts
from recsys.index import VectorIndex, quantise
from recsys.item_state import ItemState
from recsys.item_tables import fit_item_tables
from recsys.lightgbm_alone import lightgbm
from recsys.manifest import Manifest
from recsys.moment import Moment, Parts
from recsys.ranker import Ranker
from recsys.schema import (
    BRAND,
    CATEGORY,
    DAY_MS,
    EFFECTIVE_TIME,
    EVENT_ID,
    EVENT_TYPE,
    EVENT_TYPE_CODES,
    ITEM_ID,
    ITEM_SCHEMA,
    PRICE,
    RECEIVED_TIME,
    TIMESTAMP,
    TITLE,
    USER_ID,
)
from recsys.user_items import user_items
from recsys.user_state import UserState
from tests.tiny_encoder import make_tiny_encoder

NOW = 20_000 * DAY_MS
"""A midnight, which is also a tick; milliseconds since the epoch."""
HOUR_MS = DAY_MS // 24

Event = tuple[str, str, str, int]
"""User, item, event type, effective time."""


def items_frame(*rows: Mapping[str, object]) -> pl.DataFrame:
    """Items of which only what matters is given; the rest is null, and they are available."""
    empty: dict[str, object] = dict.fromkeys(ITEM_SCHEMA)
    return pl.DataFrame(
        [empty | {TITLE: "", "available": True} | dict(row) for row in rows], schema=ITEM_SCHEMA
    )


def events_frame(events: Iterable[Event]) -> pl.LazyFrame:
    """An event log as ``EventLog.scan`` gives it, with the columns that are read here."""
    schema = {
        USER_ID: pl.String(),
        ITEM_ID: pl.String(),
        EVENT_TYPE: pl.String(),
        EFFECTIVE_TIME: pl.Int64(),
    }
    frame = pl.DataFrame(list(events), schema=schema, orient="row")
    return frame.lazy().with_columns(
        pl.col(EFFECTIVE_TIME).cast(TIMESTAMP),
        pl.col(EFFECTIVE_TIME).cast(TIMESTAMP).alias(RECEIVED_TIME),
        pl.int_range(pl.len()).cast(pl.String).str.zfill(9).alias(EVENT_ID),
        pl.lit(None, pl.Float64).alias(PRICE),
    )


def state_of(events: Iterable[Event], config: Config) -> UserState:
    """The state after applying events one by one, whoever's they are."""
    state = UserState(config.state.half_lives_days)
    for _, item_id, name, time_ms in events:
        state.apply(item_id, EVENT_TYPE_CODES[name], time_ms, is_purchase=name == "purchase", max_rows=1_000)
    return state


def greengrocer() -> Catalogue:
    """Fruit and vegetables of two brands; both apples share their words, ``zucchini`` cannot be sold."""
    fruit, roots = ["Shop", "Fruit"], ["Shop", "Vegetables", "Roots"]
    rows: list[Mapping[str, object]] = [
        {ITEM_ID: "apple-1", TITLE: "red apple", CATEGORY: fruit, BRAND: "Farm"},
        {ITEM_ID: "apple-2", TITLE: "red apple", CATEGORY: fruit, BRAND: "Farm"},
        {ITEM_ID: "banana", TITLE: "yellow banana", CATEGORY: fruit, BRAND: "Isle"},
        {ITEM_ID: "cherry", TITLE: "red cherry", CATEGORY: fruit, BRAND: "Farm"},
        {ITEM_ID: "beet", TITLE: "red beet", CATEGORY: roots, BRAND: "Farm"},
        {ITEM_ID: "carrot", TITLE: "orange carrot", CATEGORY: roots, BRAND: "Isle"},
        {ITEM_ID: "radish", TITLE: "white radish", CATEGORY: roots},
        {ITEM_ID: "turnip", TITLE: "white turnip", CATEGORY: roots, BRAND: "Farm"},
        {ITEM_ID: "leek", TITLE: "green leek", CATEGORY: ["Shop", "Vegetables"], BRAND: "Isle"},
        {ITEM_ID: "kale", TITLE: "green kale", CATEGORY: ["Shop", "Vegetables"], BRAND: "Isle"},
        {ITEM_ID: "basket", TITLE: "straw basket"},
        {ITEM_ID: "zucchini", TITLE: "green zucchini", CATEGORY: ["Shop", "Vegetables"], "available": False},
    ]
    return Catalogue(items_frame(*rows))


def shopping(catalogue: Catalogue, seed: int = 0, num_users: int = 12, num_days: int = 60) -> list[Event]:
    """A log before ``NOW``: each user shops every few days among the items of a taste of four."""
    random = np.random.default_rng(seed)
    sold = [item_id for item_id in catalogue.item_ids if item_id != "zucchini"]
    events: list[Event] = []
    for user in range(num_users):
        taste = random.choice(sold, 4, replace=False)
        for day in range(int(random.integers(1, 5)), num_days, 4):
            time_ms = NOW - day * DAY_MS - int(random.integers(1, HOUR_MS))
            events += [
                (f"user-{user}", str(item_id), "purchase", time_ms) for item_id in random.choice(taste, 2)
            ]
    return sorted(events, key=lambda event: event[3])


def small_config(encoder: Path | str = "none") -> Config:
    """Settings small enough for a dozen items."""
    return Config(
        encoder=EncoderConfig(model=str(encoder), dimension=8, max_tokens=16, history_length=6),
        candidates=CandidateConfig(neighbours=5),
    )


def small_towers(encoder: TextEncoder, catalogue: Catalogue, config: Config) -> Towers:
    """Untrained towers over the encoder's texts."""
    torch.manual_seed(1)
    towers = Towers(encoder.width, config.encoder)
    towers.item.start_from(encode_texts(encoder, catalogue.texts))
    return towers.eval()


def small_parts(
    vectors: np.ndarray,
    tower: UserTower,
    catalogue: Catalogue,
    events: pl.LazyFrame,
    config: Config,
    *,
    words: np.ndarray | None = None,
) -> Parts:
    """Parts fitted on the log before ``NOW``; ``vectors`` and ``words`` have one row per text."""
    texts = VectorIndex(quantise(vectors if words is None else words), catalogue)
    return Parts(
        config=config,
        catalogue=catalogue,
        index=VectorIndex(quantise(vectors), catalogue),
        words=texts,
        user_tower=tower,
        tables=fit_item_tables(events, catalogue, texts, config, NOW),
        calibration=Calibration(4.0, -2.0, NOW),
        encoder_fitted_until_ms=NOW,
    )


def parts_without_encoder(events: Iterable[Event], config: Config) -> Parts:
    """Parts over the greengrocer's items with random vectors and an untrained user tower."""
    catalogue = greengrocer()
    dimension = config.encoder.dimension
    vectors = np.random.default_rng(5).normal(size=(len(catalogue.texts), dimension))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    torch.manual_seed(1)
    return small_parts(vectors, UserTower(dimension).eval(), catalogue, events_frame(events), config)


def moment_of(parts: Parts, events: Sequence[Event], user_id: str, as_of_ms: int = NOW) -> Moment:
    """What candidates and features read of a user at a moment."""
    config, catalogue = parts.config, parts.catalogue
    mine = [event for event in events if event[0] == user_id and event[3] < as_of_ms]
    items = ItemState.from_events(catalogue, config.state, events_frame(events), as_of_ms)
    user = user_items(state_of(mine, config), catalogue, config, as_of_ms)
    return Moment(parts, as_of_ms, user, items.popularity(as_of_ms))


def small_ranker(feature_names: tuple[str, ...], seed: int = 0, *, num_trees: int = 5) -> Ranker:
    """A ranker that learned that the sum of all features, where they are known, is good."""
    random = np.random.default_rng(seed)
    matrix = random.exponential(size=(300, len(feature_names))).astype(np.float32)
    matrix[random.random(matrix.shape) < 0.1] = np.nan
    total = np.nansum(matrix, axis=1)
    labels = np.searchsorted(np.quantile(total, (0.5, 0.8)), total)
    data = lightgbm.Dataset(matrix, labels, group=[30] * 10, feature_name=list(feature_names))
    parameters = {
        "objective": "lambdarank",
        "num_leaves": 7,
        "min_data_in_leaf": 5,
        "verbosity": -1,
        "seed": 1,
    }
    return Ranker(lightgbm.train(parameters, data, num_trees))


def write_shop_bundle(
    directory: Path, config: Config, catalogue: Catalogue, events: pl.LazyFrame
) -> Manifest:
    """Write a whole bundle: encoder, towers, parts and two rankers."""
    encoder = TextEncoder(Path(config.encoder.model), 1, config.encoder.max_tokens)
    towers = small_towers(encoder, catalogue, config)
    base = encode_texts(encoder, catalogue.texts)
    vectors = text_vectors(towers, base)
    feature_names = names(config.state)
    canary = np.random.default_rng(2).exponential(size=(4, len(feature_names))).astype(np.float32)
    canary[0, 0] = np.nan
    describe = {
        "version": directory.name,
        "created_time": datetime.fromtimestamp(NOW / 1000, UTC),
        "data_from": datetime.fromtimestamp(NOW / 1000 - 100 * 86_400, UTC),
        "fitted_until": datetime.fromtimestamp(NOW / 1000, UTC),
        "feature_names": feature_names,
        "feature_fingerprint": fingerprint(config.state),
        "metrics": {"ranker_validation_ndcg@10": 0.5},
    }
    return write_bundle(
        directory,
        describe,
        small_parts(vectors, towers.user, catalogue, events, config, words=base.numpy()),
        encoder,
        towers,
        {"all": small_ranker(feature_names), "new": small_ranker(feature_names, seed=1)},
        canary,
    )


def greengrocer_encoder(directory: Path) -> Path:
    """A tiny encoder that knows the greengrocer's words."""
    return make_tiny_encoder(directory, [*greengrocer().texts, "红 苹果 香蕉"])
