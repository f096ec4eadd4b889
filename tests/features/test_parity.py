import itertools
import json
import shutil
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from features import item, user, user_attribute, user_item
from features.parity import TOLERANCE, ParityReport, verify_parity
from features.registry import fingerprint, names
from recsys.bundle import Bundle, load_bundle
from recsys.cli import run
from recsys.config import Config, StateConfig
from recsys.event_log import EventLog
from recsys.registry import Registry
from recsys.schema import DAY_MS, EVENT_SCHEMA, MERGE_SCHEMA, USER_ID
from recsys.workspace import Workspace
from tests.conftest import Trained
from tests.features.small_log import CONFIG, ITEM_IDS, hand_made_parts, offline_rows, online_rows
from tests.recsys.small_catalogue import HOUR_MS, NOW, Event

USERS = ("ann", "bob")
FAMILIES = [user_item, user_attribute, item, user]
TIMES = st.one_of(
    st.integers(-45 * 24, 24).map(lambda hours: NOW + hours * HOUR_MS),  # often equal
    st.integers(NOW - 45 * DAY_MS, NOW + DAY_MS),
)
TYPES = st.sampled_from(["impression", "view", "click", "purchase", "like", "dislike"])
LOGS = st.lists(st.tuples(st.sampled_from(USERS), st.sampled_from(ITEM_IDS), TYPES, TIMES), max_size=40)
MOMENTS = st.lists(st.tuples(st.sampled_from([*USERS, "eve"]), TIMES), min_size=1, max_size=4)
CONFIGS = st.sampled_from(
    [
        CONFIG,
        Config(
            state=StateConfig(half_lives_days=(0.25, 0.5, 1.0), max_age_days=60.0), encoder=CONFIG.encoder
        ),  # sums that become too small to matter
    ]
)


@pytest.fixture(scope="module")
def bundle(trained: Trained) -> Bundle:
    return load_bundle(Registry(trained.workspace.registry).stable(), fingerprint(trained.config.state))


@pytest.fixture(autouse=True)
def _unconfigured_logging() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@settings(deadline=None, max_examples=40)
@given(events=LOGS, queries=MOMENTS, config=CONFIGS)
def test_offline_equals_online_on_any_log_in_any_order_of_arrival(
    events: list[Event], queries: list[tuple[str, int]], config: Config
) -> None:
    parts = hand_made_parts(config)
    offline, online = offline_rows(events, queries, parts), online_rows(events, queries, parts)
    for column, name in enumerate(names(config.state)):
        ours, theirs = online[:, column], offline[:, column]
        np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)


def test_a_whole_bundle_agrees_with_its_log(trained: Trained, bundle: Bundle) -> None:
    report = verify_parity(bundle, EventLog(trained.workspace.events), num_users=25)
    assert report.ok
    assert report.rows >= 25 * len(trained.shop.items)
    assert report.max_error.keys() == set(names(trained.config.state))
    assert (report.order_mismatches, report.excluded_users) == (0, 0)
    assert report.to_json()["features"][0] == {
        "name": "user_item_2d",
        "max_error": report.max_error["user_item_2d"],
    }


def test_a_log_in_which_visitors_log_in_agrees_too(trained: Trained, bundle: Bundle, tmp_path: Path) -> None:
    events = EventLog(trained.workspace.events).scan().select(EVENT_SCHEMA.names()).collect()
    users = events[USER_ID].unique().sort().to_list()
    middle = events.select(pl.col("event_time").quantile(0.7, "lower")).item()
    merges = pl.DataFrame(
        [(visitor, user, middle) for visitor, user in zip(users[::2], users[1::2], strict=False)],
        schema=MERGE_SCHEMA,
        orient="row",
    )
    log = EventLog(tmp_path / "events")
    log.append(events, "everything", merges=merges)
    assert set(log.scan().collect()["merged_into"].drop_nulls()) == set(users[1::2])
    report = verify_parity(bundle, log, num_users=12)
    assert report.ok
    assert report.order_mismatches == 0


def test_every_feature_of_the_default_state_is_compared() -> None:
    assert len(names(StateConfig())) == 129
    # one half-life less: of item, user x item, adoption, each as it stands too, and of 3 attributes
    assert len(names(CONFIG.state)) == 129 - 9


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_a_definition_changed_on_one_side_only_is_found(
    trained: Trained, bundle: Bundle, family: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    unchanged = family.online
    monkeypatch.setattr(family, "online", lambda moment, positions: unchanged(moment, positions) * 1.001)
    report = verify_parity(bundle, EventLog(trained.workspace.events), num_users=5)
    assert not report.ok
    differing = {name for name, error in report.max_error.items() if error > TOLERANCE}
    assert differing
    assert differing <= {feature.name for feature in family.features(trained.config.state)}


def test_a_value_on_one_side_only_is_an_infinite_error(
    trained: Trained, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    unchanged = user_item.online
    monkeypatch.setattr(user_item, "online", lambda *given: np.nan_to_num(unchanged(*given), nan=0.0))
    report = verify_parity(bundle, EventLog(trained.workspace.events), num_users=5)
    assert report.max_error["user_item_recency_days"] == np.inf
    assert not report.ok
    errors = {feature["name"]: feature["max_error"] for feature in report.to_json()["features"]}
    assert errors["user_item_recency_days"] is None


def test_another_order_without_another_value_is_a_mismatch(
    trained: Trained, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = itertools.cycle((1.0, -1.0))  # the online side scores first
    ranker = bundle.ranker("all")
    unchanged = ranker.scores
    monkeypatch.setattr(ranker, "scores", lambda matrix: next(sign) * unchanged(matrix))
    report = verify_parity(bundle, EventLog(trained.workspace.events), num_users=5)
    assert max(report.max_error.values()) <= TOLERANCE
    assert report.order_mismatches == 5
    assert not report.ok


def test_nothing_compared_is_no_proof(bundle: Bundle, tmp_path: Path) -> None:
    report = verify_parity(bundle, EventLog(tmp_path / "events"))
    assert (report.rows, report.ok) == (0, False)


def test_users_too_large_for_the_online_state_are_counted_and_left_out(
    trained: Trained, bundle: Bundle
) -> None:
    state = trained.config.state.model_copy(update={"max_rows_per_user": 1})
    config = trained.config.model_copy(update={"state": state})
    small = Bundle(bundle.manifest.model_copy(update={"config": config}), bundle.parts, bundle.rankers)
    report = verify_parity(small, EventLog(trained.workspace.events))
    assert (report.rows, report.ok) == (0, False)
    assert report.excluded_users == trained.shop.history[USER_ID].n_unique()


def test_another_order_is_no_proof_either() -> None:
    assert ParityReport(rows=1, max_error={"a": TOLERANCE}).ok
    assert not ParityReport(rows=1, order_mismatches=1).ok


def verify(workspace: Workspace, *flags: str) -> int:
    argv = ["verify", "parity", "--users", "5", "--workspace", str(workspace.root), *flags]
    return run(argv, list(entry_points(group="recsys.commands")))


def test_the_command_prints_the_errors_and_exits_0_when_all_agree(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(trained.workspace, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document.keys() == {"ok", "rows", "features", "order_mismatches", "excluded_users"}
    assert document["ok"] is True
    assert verify(trained.workspace) == 0
    assert "offline equals online" in capsys.readouterr().out


def test_the_command_exits_1_when_the_sides_differ(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unchanged = user.online
    monkeypatch.setattr(user, "online", lambda *given: unchanged(*given) + 1)
    assert verify(trained.workspace, "--json") == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_the_command_exits_1_when_there_is_nothing_to_compare(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained.workspace.registry, tmp_path / "registry")
    assert verify(Workspace(tmp_path), "--json") == 1
    assert "holds no events" in capsys.readouterr().err
