"""Shops that lack something: each is trained on and served with a note of it, or refused before any work."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from recsys.answer import Query
from recsys.config import Config
from recsys.errors import ConfigError, DataError
from recsys.registry import Registry
from recsys.schema import (
    CATEGORY,
    DESCRIPTION,
    EVENT_TIME,
    EVENT_TYPE,
    ITEM_ID,
    USER_ID,
)
from recsys.tables import publish, read_items
from recsys.workspace import Workspace
from serving.loading import load_pipeline, load_states
from tests.conftest import Trained
from tests.tiny_shop import CUT, CUT_MS, TinyShop, few_steps, ingest_shop, quick_config
from training.recipe import TrainingSummary, train

USER = "coffee-user0"
HEAVY = "garden-user0"


@pytest.fixture
def config(trained: Trained) -> Config:
    """What is learned does not matter here."""
    return few_steps(quick_config(trained.config))


def _without_descriptions(shop: TinyShop) -> TinyShop:
    return replace(shop, items=shop.items.with_columns(pl.lit(None, pl.String).alias(DESCRIPTION)))


def _of_one_category(shop: TinyShop) -> TinyShop:
    return replace(shop, items=shop.items.with_columns(pl.lit(["shop"]).alias(CATEGORY)))


def _of_one_event_type(shop: TinyShop) -> TinyShop:
    return replace(shop, history=shop.history.with_columns(pl.lit("view").alias(EVENT_TYPE)))


def _with_a_heavy_user(shop: TinyShop) -> TinyShop:
    first = shop.history.filter(pl.col(USER_ID) == HEAVY)
    often = pl.concat([first] * (30_000 // first.height + 1)).with_row_index("n")
    apart = pl.col(EVENT_TIME) + pl.duration(milliseconds=pl.col("n"))
    return replace(shop, history=pl.concat([shop.history, often.with_columns(apart).drop("n")]))


def _trained_on(workspace: Workspace, config: Config, note: str | None) -> list[set[str]]:
    """Train, expect one such note or none at all, and return the lists of two users."""
    summary: TrainingSummary = train(workspace, config=config)
    found = [told for told in summary.details["notes"] if note is None or note in told]
    assert len(found) == (note is not None)
    pipeline = load_pipeline(workspace)
    assert pipeline.bundle.manifest.training["notes"] == summary.details["notes"]
    queries = [
        Query(as_of_ms=CUT_MS, user=state, limit=10)
        for user_id, state in load_states(workspace, pipeline)
        if user_id in (USER, HEAVY)
    ]
    return [{item.item_id for item in pipeline.recommend(query).items} for query in queries]


@pytest.mark.parametrize(
    ("spoil", "note"),
    [
        (_without_descriptions, "no item has a description"),
        (_of_one_category, "the items are of one category or of none"),
        (_of_one_event_type, "all events are of one type, view"),
        (_with_a_heavy_user, None),
    ],
)
def test_an_awkward_shop_gets_its_model_a_note_and_full_lists(
    trained: Trained, config: Config, tmp_path: Path, spoil: Callable[[TinyShop], TinyShop], note: str | None
) -> None:
    shop = spoil(trained.shop)
    lists = _trained_on(ingest_shop(tmp_path, shop.items, shop.history), config, note)
    assert [len(item_ids) for item_ids in lists] == [10, 10]


def test_items_that_vanished_from_the_catalogue_are_told_of_and_not_recommended(
    trained: Trained, config: Config, tmp_path: Path
) -> None:
    workspace = ingest_shop(tmp_path, trained.shop.items, trained.shop.history)
    left = read_items(workspace).filter(~pl.col(ITEM_ID).str.starts_with("paint"))
    publish(workspace.items, left)
    lists = _trained_on(workspace, config, "items that the catalogue does not hold")
    assert [len(item_ids & set(left[ITEM_ID])) for item_ids in lists] == [10, 10]


def test_an_ordinary_shop_gets_no_note(trained: Trained) -> None:
    assert load_pipeline(trained.workspace).bundle.manifest.training["notes"] == []


@pytest.mark.parametrize(
    ("days", "which"),
    [((14, 0), "in the last label window"), ((42, 14), "in the label windows before the last")],
)
def test_windows_in_which_nothing_was_taken_are_refused_before_any_work(
    trained: Trained, config: Config, tmp_path: Path, days: tuple[int, int], which: str
) -> None:
    from_day, to_day = (CUT - timedelta(days=number) for number in days)
    ignored = pl.when(pl.col(EVENT_TIME).is_between(from_day, to_day)).then(pl.lit("impression"))
    history = trained.shop.history.with_columns(ignored.otherwise(EVENT_TYPE).alias(EVENT_TYPE))
    workspace = ingest_shop(tmp_path, trained.shop.items, history)
    with pytest.raises(DataError, match=which):
        train(workspace, config=config)
    assert Registry(workspace.registry).pointers().stable is None
    assert not workspace.reports.exists()


def test_a_path_that_holds_no_encoder_is_refused_before_any_work(
    trained: Trained, config: Config, tmp_path: Path
) -> None:
    workspace = ingest_shop(tmp_path / "shop", trained.shop.items, trained.shop.history)
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "config.json").write_text("{}")
    encoder = config.encoder.model_copy(update={"model": str(tmp_path / "encoder")})
    with pytest.raises(ConfigError, match="encoder"):
        train(workspace, config=config.model_copy(update={"encoder": encoder}))
    assert not workspace.reports.exists()
