"""A shop of any size, grown from a trained workspace: real texts, vectors, histories and features.

Items beyond the real ones, and items whose text is another's too, get a vector between that of their text
and that of a text which reads like it, by a weight drawn between 0.05 and 0.5: so the neighbourhoods of real
vectors are kept, and no two items share a vector. The ranker is a forest of a stated size, fitted on features
of the log's shoppers to follow the workspace's own ranker.
"""

import os
import shutil
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float32, Int8, Int64

from features.registry import OnlineFeatures, family_names, fingerprint, names
from recsys.answer import Query
from recsys.bundle import Bundle, load_bundle, write_bundle
from recsys.catalogue import Catalogue
from recsys.config import CandidateConfig, Config, SourceName
from recsys.encoder import TextEncoder, Towers
from recsys.event_log import EventLog
from recsys.index import VectorIndex, dequantise, quantise
from recsys.item_history import ItemHistory
from recsys.item_state import ItemState
from recsys.item_tables import ItemTables
from recsys.lightgbm_alone import lightgbm
from recsys.manifest import new_version
from recsys.moment import Parts
from recsys.neighbours import Neighbours
from recsys.pipeline import Pipeline
from recsys.ranker import Ranker
from recsys.registry import Registry
from recsys.schema import ITEM_ID, TITLE
from recsys.user_state import UserState
from recsys.workspace import Workspace
from serving.loading import load_states

NUM_CANDIDATES = 500
NUM_TREES, NUM_LEAVES = 300, 63
_LEAN_FAMILIES = ("user_item", "user_attribute", "item", "user", "text_interest")
_LEAN_SIZES = {"own": 130, "text": 130, "co_occurrence": 130, "ease": 130, "popular": 85, "adopted": 85}
_LEAN_SOURCES: tuple[SourceName, ...] = ("own", "text", "co_occurrence", "ease", "popular", "adopted")
_SHOPPERS_TO_FIT = 150
_SHARE = 0.4
"""Of what each source offers by default; the union of all is then about ``NUM_CANDIDATES``."""


def sized_shop(source: Workspace, target: Path, num_items: int, *, lean: bool = True) -> Workspace:
    """Make a workspace that serves 500 candidates to a forest of 300 trees of 63 leaves.

    Args:
        source: A trained workspace.
        target: Where to put the new one; what is there goes.
        num_items: Items of the new shop, at least those of the source.
        lean: Whether to serve six of the candidate sources and 51 of the features, as a shop would that has
            a few milliseconds for an answer; otherwise all of them.
    """
    shutil.rmtree(target, ignore_errors=True)
    shop = Workspace(target)
    shutil.copytree(source.events, shop.events, copy_function=os.link)
    directory = Registry(source.registry).stable()
    bundle = load_bundle(directory)
    parts = _grown(bundle.parts, num_items)
    config = _lean(parts.config) if lean else _scaled(parts.config)
    everything = replace(parts, config=_scaled(parts.config))
    ranker, rows = _forest(source, replace(bundle, parts=everything), config)
    parts = replace(parts, config=config)
    version = new_version(bundle.manifest.fitted_until, datetime.now(UTC))
    describe = {
        "version": version,
        "created_time": datetime.now(UTC),
        "data_from": bundle.manifest.data_from,
        "fitted_until": bundle.manifest.fitted_until,
        "feature_names": names(config.state),
        "feature_fingerprint": fingerprint(config.state),
        "metrics": {},
    }
    encoder = TextEncoder(directory / "encoder", 0, parts.config.encoder.max_tokens)
    towers = Towers.load(directory / "encoder" / "towers.safetensors", encoder.width, parts.config.encoder)
    registry = Registry(shop.registry)
    write_bundle(registry.path(version), describe, parts, encoder, towers, {"all": ranker}, rows)
    registry.promote(version)
    return shop


def _grown(parts: Parts, num_items: int) -> Parts:
    base = np.arange(num_items) % len(parts.catalogue)
    names = pl.Series([f"{i:09d}" for i in range(num_items)])
    frame = parts.catalogue.frame[base.tolist()].with_columns(
        pl.when(pl.int_range(pl.len()) < len(parts.catalogue))
        .then(pl.col(ITEM_ID))
        .otherwise("~" + names)
        .alias(ITEM_ID),
        (pl.col(TITLE) + " " + names).alias(TITLE),
    )
    catalogue = Catalogue(frame)  # ids that begin with ~ come last: the real items keep their positions
    item_of_text = np.empty(len(catalogue.texts), np.int64)
    item_of_text[catalogue.text_of_item] = np.arange(num_items)
    texts = parts.catalogue.text_of_item[base[item_of_text]].astype(np.int64)
    near = _text_nearby(parts, texts)
    weight = np.random.default_rng(1).uniform(0.05, 0.5, (len(texts), 1)).astype(np.float32)
    first = np.unique(texts, return_index=True)[1]
    weight[first] = 0.0
    return replace(
        parts,
        catalogue=catalogue,
        index=VectorIndex(_between(parts.index, texts, near, weight), catalogue),
        words=VectorIndex(_between(parts.words, texts, near, weight), catalogue),
        tables=_tables(parts.tables, catalogue, texts),
    )


def _text_nearby(parts: Parts, texts: Int64[np.ndarray, " texts"]) -> Int64[np.ndarray, " texts"]:
    neighbours = parts.tables.resemblance.neighbours[texts]
    drawn = np.random.default_rng(2).integers(0, neighbours.shape[1], len(texts))
    nearby = neighbours[np.arange(len(texts)), drawn]
    found: Int64[np.ndarray, " texts"] = parts.catalogue.text_of_item[nearby].astype(np.int64)
    return found


def _between(
    index: VectorIndex,
    texts: Int64[np.ndarray, " texts"],
    near: Int64[np.ndarray, " texts"],
    weight: Float32[np.ndarray, "texts 1"],
) -> Int8[np.ndarray, "texts dim"]:
    found = np.empty((len(texts), index.vectors.shape[1]), np.int8)
    for start in range(0, len(texts), 50_000):
        rows = slice(start, start + 50_000)
        ours, theirs = dequantise(index.vectors[texts[rows]]), dequantise(index.vectors[near[rows]])
        mixed = (1 - weight[rows]) * ours + weight[rows] * theirs
        found[rows] = quantise(mixed / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-6))
    return found


def _tables(tables: ItemTables, catalogue: Catalogue, texts: Int64[np.ndarray, " texts"]) -> ItemTables:
    more = len(catalogue) - len(tables.co_occurrence.starts) + 1

    def longer(table: Neighbours) -> Neighbours:
        return replace(table, starts=np.pad(table.starts, (0, more), "edge"))

    history = tables.history
    padded: dict[str, Any] = {
        field.name: _padded(getattr(history, field.name), more)
        for field in fields(ItemHistory)
        if field.name != "fitted_until_ms"
    }
    resemblance = replace(
        tables.resemblance,
        neighbours=tables.resemblance.neighbours[texts],
        weights=tables.resemblance.weights[texts],
        text_of_item=catalogue.text_of_item,
    )
    return replace(
        tables,
        co_occurrence=longer(tables.co_occurrence),
        following=longer(tables.following),
        ease=longer(tables.ease),
        history=replace(history, **padded),
        resemblance=resemblance,
    )


def _padded(values: np.ndarray, more: int) -> np.ndarray:
    width = [(0, 0)] * (values.ndim - 1) + [(0, more)]
    return np.pad(values, width, constant_values=0)


def _scaled(config: Config) -> Config:
    """The same sources, each offering less, so that about ``NUM_CANDIDATES`` are left of them together."""
    sizes = config.candidates.model_dump()
    sizes |= {name: round(_SHARE * sizes[name]) for name in config.placements["home"].sources}
    candidates = CandidateConfig.model_validate(sizes)
    return config.model_copy(update={"candidates": candidates})


def _lean(config: Config) -> Config:
    """The sources and features that cost least for what they are worth, again about ``NUM_CANDIDATES``."""
    left_out = tuple(name for name in family_names() if name not in _LEAN_FAMILIES)
    home = config.placements["home"].model_copy(update={"sources": _LEAN_SOURCES})
    return config.model_copy(
        update={
            "state": config.state.model_copy(update={"leave_out_families": left_out}),
            "placements": config.placements | {"home": home},
            "candidates": config.candidates.model_copy(update=_LEAN_SIZES),
        }
    )


def shoppers(source: Workspace, pipeline: Pipeline, num: int) -> dict[str, UserState]:
    """States of some of the log's users, drawn at random with a fixed seed."""
    states = dict(load_states(source, pipeline))
    drawn = np.random.default_rng(0).choice(sorted(states), min(num, len(states)), replace=False)
    return {str(user): states[str(user)] for user in drawn}


def _forest(
    source: Workspace, bundle: Bundle, config: Config
) -> tuple[Ranker, Float32[np.ndarray, "rows features"]]:
    """A forest over the features of ``config``, which follows the bundle's own ranker, and some rows."""
    log, whole = EventLog(source.events), bundle.parts.config
    now_ms = (log.end_ms() or 0) + 1
    items = ItemState.from_events(bundle.parts.catalogue, whole.state, log.scan(), now_ms)
    manifest = bundle.manifest.model_copy(update={"config": whole})
    pipeline = Pipeline(replace(bundle, manifest=manifest), items, OnlineFeatures(whole.state))
    states = shoppers(source, pipeline, _SHOPPERS_TO_FIT)
    rows = np.concatenate([pipeline.gather(Query(now_ms, state)).matrix for state in states.values()])
    margin = bundle.ranker("all").scores(rows)
    noisy = margin + np.random.default_rng(3).normal(0, margin.std() / 2, len(margin))
    wanted = list(names(config.state))
    rows = np.ascontiguousarray(rows[:, [names(whole.state).index(name) for name in wanted]])
    options = {"objective": "regression", "num_leaves": NUM_LEAVES, "min_data_in_leaf": 50, "verbosity": -1}
    booster = lightgbm.train(options, lightgbm.Dataset(rows, noisy, feature_name=wanted), NUM_TREES)
    return Ranker(booster), rows[:: max(len(rows) // 32, 1)][:32]
