import json
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features import states
from features.states import states_at
from recsys.answer import Query
from recsys.errors import BundleError, FeatureMismatchError
from recsys.event_log import EventLog
from recsys.item_changes import CHANGES_FILE, ItemChanges
from recsys.item_state import ItemState
from recsys.pipeline import Pipeline
from recsys.registry import Registry
from recsys.schema import AS_OF, EFFECTIVE_TIME, EVENT_TYPE, EVENT_TYPE_CODES, ITEM_ID, TITLE, USER_ID
from recsys.tables import read_items
from recsys.user_state import UserState
from recsys.workspace import Workspace
from serving.loading import load_pipeline, load_states, warm_up
from tests.conftest import Trained
from tests.tiny_shop import CUT_MS


@pytest.fixture(scope="module")
def pipeline(trained: Trained) -> Pipeline:
    return load_pipeline(trained.workspace)


def replayed(log: EventLog, user_id: str, until_ms: int, config: tuple[float, ...]) -> UserState:
    """A user's state from applying the log event by event."""
    state = UserState(config)
    rows = log.scan(until_ms).filter(pl.col(USER_ID) == user_id).sort(EFFECTIVE_TIME, ITEM_ID)
    for item_id, name, time_ms in (
        rows.select(ITEM_ID, EVENT_TYPE, pl.col(EFFECTIVE_TIME).dt.epoch("ms")).collect().iter_rows()
    ):
        state.apply(item_id, EVENT_TYPE_CODES[name], time_ms, is_purchase=name == "purchase", max_rows=1_000)
    return state


def rows_of(state: UserState) -> dict[tuple[str, int], tuple[float, ...]]:
    keys = zip(state.item_ids, state.event_types.tolist(), strict=True)
    values = np.column_stack((state.sums, state.first_ms, state.last_ms, state.counts)).tolist()
    return dict(zip(keys, map(tuple, values), strict=True))


def assert_same(found: UserState, expected: UserState) -> None:
    ours, theirs = rows_of(found), rows_of(expected)
    assert ours.keys() == theirs.keys()
    for key, values in theirs.items():
        assert ours[key] == pytest.approx(values, rel=1e-9)
    assert found.basket_ms.tolist() == expected.basket_ms.tolist()


def test_the_states_at_the_end_of_the_log_are_those_of_applying_it_event_by_event(
    trained: Trained, pipeline: Pipeline
) -> None:
    log = EventLog(trained.workspace.events)
    states = dict(load_states(trained.workspace, pipeline))
    assert states.keys() == set(trained.shop.history[USER_ID])
    for user_id in list(states)[::30]:
        assert_same(states[user_id], replayed(log, user_id, CUT_MS, trained.config.state.half_lives_days))


def test_an_empty_log_holds_nobody(pipeline: Pipeline, tmp_path: Path) -> None:
    assert list(load_states(Workspace(tmp_path), pipeline)) == []


def test_a_large_log_is_read_in_parts_to_the_same_states(
    trained: Trained, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = dict(load_states(trained.workspace, pipeline))
    monkeypatch.setattr(states, "_EVENTS_AT_ONCE", 1_000)
    parts = list(load_states(trained.workspace, pipeline))
    assert [user_id for user_id, _ in parts] != list(whole)  # it came in parts
    assert {user_id for user_id, _ in parts} == whole.keys()
    assert len(parts) == len(whole)
    for user_id, state in parts:
        assert_same(state, whole[user_id])


def test_states_come_in_the_order_of_the_queries_each_as_of_its_own_time(
    trained: Trained, pipeline: Pipeline
) -> None:
    log = EventLog(trained.workspace.events)
    user_id, half_lives = next(iter(trained.shop.withheld)), trained.config.state.half_lives_days
    earlier_ms = CUT_MS - 50 * 86_400_000
    asked = [(user_id, CUT_MS), ("nobody", CUT_MS), (user_id, earlier_ms)]
    queries = pl.DataFrame(asked, schema={USER_ID: pl.String, AS_OF: pl.Int64}, orient="row")
    found = list(states_at(log.scan(), queries, pipeline.bundle.parts.catalogue, pipeline.config))
    assert [who for who, _ in found] == [user_id, "nobody", user_id]
    assert found[1][1].num_rows == 0
    for (_, state), (who, as_of_ms) in zip(found, asked, strict=True):
        assert_same(state, replayed(log, who, as_of_ms, half_lives))


def test_a_pipeline_knows_the_popularity_at_the_moment_it_stands_at(trained: Trained) -> None:
    moment_ms = CUT_MS - 50 * 86_400_000
    log, state = EventLog(trained.workspace.events), trained.config.state
    standing = load_pipeline(trained.workspace, at_ms=moment_ms)
    catalogue = standing.bundle.parts.catalogue
    expected = (
        ItemState.from_events(catalogue, state, log.scan(moment_ms), moment_ms)
        .popularity(moment_ms)
        .engagement
    )
    found = standing.moment(Query(as_of_ms=moment_ms, user=None)).popularity.engagement
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_version_can_be_named_and_an_unknown_one_is_refused(trained: Trained) -> None:
    assert load_pipeline(trained.workspace, version=trained.version).version == trained.version
    with pytest.raises(BundleError, match="no bundle 'v0'"):
        load_pipeline(trained.workspace, version="v0")


def test_a_workspace_without_a_model_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="recsys train"):
        load_pipeline(Workspace(tmp_path))


def test_a_bundle_of_other_feature_definitions_is_refused(trained: Trained, tmp_path: Path) -> None:
    workspace = Workspace(shutil.copytree(trained.workspace.root, tmp_path / "workspace"))
    path = Registry(workspace.registry).stable() / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"feature_fingerprint": "0" * 64}))
    with pytest.raises(FeatureMismatchError):
        load_pipeline(workspace)


def test_warming_up_asks_every_placement_for_explained_answers(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Query] = []
    monkeypatch.setattr(pipeline, "recommend", asked.append)
    warm_up(pipeline, CUT_MS)
    assert [query.placement for query in asked] == list(pipeline.config.placements)
    assert all(query.explain and query.user is not None and query.context_item_ids for query in asked)


def test_warming_up_changes_no_answer(trained: Trained) -> None:
    cold, warm = load_pipeline(trained.workspace), load_pipeline(trained.workspace)
    warm_up(warm, CUT_MS)
    for placement in warm.config.placements:
        asked = Query(CUT_MS, None, placement)
        assert warm.recommend(asked) == cold.recommend(asked)


def test_what_is_changed_live_is_recommended_and_trained_on(trained: Trained, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    workspace.root.mkdir()
    for name in ("items", "events", "registry"):
        (workspace.root / name).symlink_to(trained.workspace.root / name)
    before = read_items(workspace)
    espresso = before.filter(pl.col(ITEM_ID) == "coffee-0")
    live = espresso.with_columns(
        pl.lit("coffee-live").alias(ITEM_ID), pl.lit("decaf filter coffee").alias(TITLE)
    )
    with closing(ItemChanges(workspace.state / CHANGES_FILE)) as changes:
        changes.put(live)
        changes.delete(["coffee-1"])
    pipeline = load_pipeline(workspace)
    states = dict(load_states(workspace, pipeline))
    found = pipeline.recommend(Query(CUT_MS, states["coffee-user0"], limit=31))
    listed = [item.item_id for item in found.items]
    assert "coffee-1" not in listed
    assert listed.index("coffee-live") < listed.index("garden-0")
    assert next(item for item in found.items if item.item_id == "coffee-live").sources
    assert set(read_items(workspace)[ITEM_ID]) == set(before[ITEM_ID]) - {"coffee-1"} | {"coffee-live"}
    assert load_pipeline(workspace).recommend(Query(CUT_MS, states["coffee-user0"], limit=31)) == found
