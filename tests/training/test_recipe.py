import shutil
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import polars as pl
import pytest

from recsys.bundle import load_bundle
from recsys.catalogue import Catalogue
from recsys.config import Config, RankerConfig
from recsys.errors import ConfigError, DataError
from recsys.event_log import EventLog
from recsys.ingest import read_items
from recsys.log_shards import reshard
from recsys.manifest import read_manifest, verify_files
from recsys.registry import Registry
from recsys.schema import DAY_MS, EVENT_TIME, USER_ID
from recsys.workspace import Workspace
from tests.conftest import Trained
from tests.recsys.small_catalogue import events_frame
from tests.tiny_shop import CUT, GROUP_SIZE, GROUPS, ingest_shop
from training.recipe import TrainingRun, label_window_ms, train
from training.take_over import take_over


def test_the_bundle_verifies_and_serves(trained: Trained) -> None:
    registry = Registry(trained.workspace.registry)
    manifest = read_manifest(registry.stable())
    verify_files(registry.stable(), manifest)
    assert registry.pointers().stable == manifest.version == trained.version
    assert manifest.config == trained.config
    assert manifest.data_from == trained.shop.history[EVENT_TIME].min()


def test_what_the_ranker_learns_from_was_fitted_before_its_windows(trained: Trained) -> None:
    end_ms = EventLog(trained.workspace.events).end_ms()
    assert end_ms is not None
    until_ms = end_ms + 1
    manifest = read_manifest(Registry(trained.workspace.registry).stable())
    parts = manifest.parts_fitted_until_ms
    assert manifest.fitted_until_ms == until_ms
    assert parts["encoder"] == parts["calibration"] == until_ms - 3 * 14 * DAY_MS
    tables = ("co_occurrence", "following", "ease", "als", "history")
    assert {parts[name] for name in tables} == {until_ms}


def test_every_stage_is_timed_and_described(trained: Trained) -> None:
    training = read_manifest(Registry(trained.workspace.registry).stable()).training
    assert training["seconds"].keys() >= {"encoder", "decisions", "ranker"}
    assert training["encoder"]["texts"] == len(trained.shop.items)
    for ranker in training["rankers"].values():
        assert ranker["num_trees"] >= 1
        assert sum(ranker["gain"].values()) > 0
        assert ranker["rows"] > ranker["decisions"] > 0


def test_there_is_a_ranker_for_everything_and_one_for_what_is_new(trained: Trained) -> None:
    bundle = load_bundle(Registry(trained.workspace.registry).stable())
    described = bundle.manifest.training["rankers"]
    assert bundle.rankers.keys() == described.keys() == bundle.manifest.canary_scores.keys() == {"all", "new"}
    windows, group = 3, GROUP_SIZE * len(GROUPS)
    everybody = (windows + 1) * group
    visits = described["all"]["decisions"] - windows * everybody  # at most one per user and window
    assert 0 < visits <= windows * everybody
    new_visits = described["new"]["decisions"] - windows * group  # who found their last item in the window
    assert 0 <= new_visits <= visits


def test_the_ranker_of_new_items_alone_learns_where_items_are_unknown(trained: Trained) -> None:
    catalogue = Catalogue(read_items(trained.workspace))

    def groups(num_unknown: int) -> list[dict[str, int]]:
        ranker = trained.config.ranker.model_copy(update={"num_unknown": num_unknown, "unknown_share": 0.2})
        config = trained.config.model_copy(update={"ranker": ranker})
        registry = Registry(trained.workspace.registry)
        taken = take_over(registry, "ranker", catalogue, config)
        run = TrainingRun(registry, trained.workspace, catalogue, config, taken=taken)
        return [
            {k: len(found.groups) for k, found in window.items()} for window in run.collect(run.fit_encoder())
        ]

    without, with_unknown = groups(0), groups(10)
    assert [window["all"] for window in without] == [window["all"] for window in with_unknown]
    more = [b["new"] - a["new"] for a, b in zip(without, with_unknown, strict=True)]
    assert sum(more) > 0
    assert max(more) <= 10


def test_what_nobody_took_anew_gets_no_ranker_of_its_own(trained: Trained, tmp_path: Path) -> None:
    regular = pl.col(USER_ID).is_in(list(trained.shop.withheld))  # they find nothing before the cut
    workspace = ingest_shop(tmp_path, trained.shop.items, trained.shop.history.filter(regular))
    train(workspace, config=trained.config)
    bundle = load_bundle(Registry(workspace.registry).stable())
    assert bundle.rankers.keys() == {"all"}
    assert bundle.ranker("new") is bundle.ranker("all")


def test_training_on_a_log_in_shards_until_a_moment_is_training_on_a_whole_log_that_ends_there(
    trained: Trained, later: Workspace, tmp_path: Path
) -> None:
    again = Workspace(tmp_path / "again")
    for name in ("items", "events"):
        shutil.copytree(later.root / name, again.root / name)
    reshard(again.events, 8)
    manifest = read_manifest(Registry(trained.workspace.registry).stable())
    until_ms = manifest.fitted_until_ms
    summary = train(again, until_ms=until_ms, config=trained.config)
    assert summary.fitted_until_ms == until_ms
    ours, theirs = Registry(again.registry).stable(), Registry(trained.workspace.registry).stable()
    assert _digests(ours) == _digests(theirs)


def _digests(bundle: Path) -> dict[str, str]:
    """Of all files but the manifest, which tells when it was made."""
    files = [path for path in sorted(bundle.rglob("*")) if path.is_file() and path.name != "manifest.json"]
    return {path.relative_to(bundle).as_posix(): sha256(path.read_bytes()).hexdigest() for path in files}


def test_an_empty_log_says_what_to_run(trained: Trained, tmp_path: Path) -> None:
    shutil.copytree(trained.workspace.items, tmp_path / "items")
    with pytest.raises(DataError, match="recsys ingest"):
        train(Workspace(tmp_path), config=trained.config)


def test_an_unknown_feature_is_refused_before_any_data_is_read(tmp_path: Path, trained: Trained) -> None:
    ranker = trained.config.ranker.model_copy(update={"monotone": {"price_sense": 1}})
    config = trained.config.model_copy(update={"ranker": ranker})
    with pytest.raises(ConfigError, match="price_sense"):
        train(Workspace(tmp_path), config=config)


def test_a_workspace_without_items_says_what_to_run(tmp_path: Path, trained: Trained) -> None:
    with pytest.raises(DataError, match="recsys ingest"):
        train(Workspace(tmp_path), config=trained.config)


def events_at(*times_ms: int) -> pl.LazyFrame:
    return events_frame([("u", "i", "view", time_ms) for time_ms in times_ms])


def test_windows_are_as_long_as_configured_where_half_of_the_log_lies_before_them() -> None:
    config = Config(ranker=RankerConfig(label_window=timedelta(days=2), num_windows=3))
    days = [day * DAY_MS for day in (1, 2, 4, 9, 10)]
    assert label_window_ms(events_at(*days), config, 10 * DAY_MS) == 2 * DAY_MS
    assert label_window_ms(events_at(*days), config, 11 * DAY_MS) == 2 * DAY_MS


def test_windows_of_a_shorter_log_leave_half_of_it_before_the_first() -> None:
    config = Config(ranker=RankerConfig(label_window=timedelta(days=2), num_windows=3))
    days = [day * DAY_MS for day in (1, 2, 7, 9, 10)]
    found = label_window_ms(events_at(*days), config, 10 * DAY_MS)
    assert found == DAY_MS
    assert isinstance(found, int)
    assert label_window_ms(events_at(DAY_MS), config, DAY_MS + 1) == 1


def test_a_log_shorter_than_the_configured_windows_is_trained_on_all_the_same(
    trained: Trained, tmp_path: Path
) -> None:
    events = trained.shop.history.filter(pl.col(EVENT_TIME) >= CUT - timedelta(days=50))
    workspace = ingest_shop(tmp_path, trained.shop.items, events)
    summary = train(workspace, config=trained.config)
    manifest = read_manifest(Registry(workspace.registry).stable())
    window_ms = summary.fitted_until_ms - manifest.parts_fitted_until_ms["encoder"]
    assert 20 * DAY_MS < window_ms < 30 * DAY_MS


def test_a_log_in_which_nobody_comes_back_fails_and_publishes_nothing(
    trained: Trained, tmp_path: Path
) -> None:
    events = trained.shop.history.unique("user_id", keep="first", maintain_order=True)
    workspace = ingest_shop(tmp_path, trained.shop.items, events)
    with pytest.raises(DataError, match="ingest a longer log"):
        train(workspace, config=trained.config)
    assert Registry(workspace.registry).pointers().stable is None
