"""An experiment that interleaves two models, over a real channel, from the list to the verdict."""

import time
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from recsys.answer import Query, RankedList
from recsys.errors import ConfigError, DataError
from recsys.event_log import EventLog
from recsys.experiments.book import Interleaving
from recsys.experiments.definition import load_experiment
from recsys.experiments.drafted_list import DraftPolicy
from recsys.experiments.exposures import scan_served_lists
from recsys.experiments.interleaving import coins, draft_seed
from recsys.experiments.registry import ExperimentRegistry
from recsys.experiments.served_preference import served_preference
from recsys.registry import Registry
from recsys.v1.event_service_pb2 import Event as SentEvent
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from recsys.workspace import Workspace
from serving.client import Client
from serving.compaction import compact
from serving.event import Event, event_frame
from serving.event_buffer import BUFFER_FILE, SqliteEventBuffer
from serving.interleaved import Interleaved
from serving.loading import load_pipeline
from tests.recsys.small_catalogue import (
    NOW,
    events_frame,
    greengrocer,
    greengrocer_encoder,
    shopping,
    small_config,
    write_shop_bundle,
)
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.small_shop import SmallPipeline

OLD, NEW, KEY = "old-shop", "new-shop", "new-model"
DEFINITION = """
key = "new-model"
interleave = true
[[arms]]
key = "control"
weight = 0.5
[[arms]]
key = "treatment"
weight = 0.5
model = "new-shop"
[[metrics]]
name = "clicks"
role = "primary"
kind = "mean"
value = "clicks"
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    found, config = Workspace(tmp_path / "workspace"), small_config(greengrocer_encoder(tmp_path / "encoder"))
    history = shopping(greengrocer(), num_users=4)
    registry = Registry(found.registry)
    for version in (OLD, NEW):
        write_shop_bundle(registry.path(version), config, greengrocer(), events_frame(history))
    frame = event_frame(
        Event(f"e{number}", kind, user, item, time_ms, time_ms)
        for number, (user, item, kind, time_ms) in enumerate([*history, ("user-1", "leek", "view", NOW)])
    )
    EventLog(found.events).append(frame, "history")
    registry.promote(OLD)
    return found


def test_lists_are_drafted_from_both_models_and_clicks_say_which_is_preferred(workspace: Workspace) -> None:
    ExperimentRegistry(workspace).start(DEFINITION, "new-model.toml")
    with pytest.raises(DataError, match="no interleaved list"):
        served_preference(workspace, KEY)
    pipeline = load_pipeline(workspace)
    with (
        running_server(workspace.root, pipeline, clock="replay") as where,
        Client(where, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        by_hand = RecommendRequest(user_id="tester", attributes={f"experiment.{KEY}": "treatment"})
        until = time.monotonic() + PATIENCE_SECONDS
        while client.recommend(by_hand).model_version != NEW and time.monotonic() < until:
            time.sleep(0.05)
        for number in range(4):
            answer = client.recommend(RecommendRequest(user_id=f"user-{number}", page_size=4))
            click = SentEvent(
                event_type="click",
                user_id=f"user-{number}",
                item_id=answer.results[0].item_id,
                attribution_token=answer.attribution_token,
            )
            client.record_events([click])
    with closing(SqliteEventBuffer(workspace.state / BUFFER_FILE)) as buffer:
        compact(buffer, EventLog(workspace.events), through=4)
    served = scan_served_lists(workspace).filter(pl.col("policy") != "").collect()
    policies = [DraftPolicy.read(policy) for policy in served["policy"]]
    assert len(policies) == 4
    for policy, row in zip(policies, served.iter_rows(named=True), strict=True):
        assert policy is not None
        assert (policy.model_a, policy.model_b) == (OLD, NEW)
        assert len(policy.teams) == len(row["item_ids"]) == 4
        assert abs(policy.teams.count("a") - policy.teams.count("b")) == 0
        assert row["arms"] == [{"experiment": KEY, "arm": "interleaved", "version": 1}]
        heads = next(coins(draft_seed(KEY, row["subject"], row["list_id"])))
        assert policy.teams[0] == ("a" if heads else "b")  # a list's draft can be told again from the log
    found = served_preference(workspace, KEY)
    assert found.pooled is not None
    [pair] = found.rows
    assert (pair.version, pair.model_a, pair.model_b, pair.found) == (1, OLD, NEW, found.pooled)
    assert (found.pooled.num_lists, found.pooled.num_users, found.pooled.ties) == (4, 4, 0)
    assert found.pooled.clicks_a == sum(policy is not None and policy.teams[0] == "a" for policy in policies)
    assert found.pooled.clicks_a + found.pooled.clicks_b == 4
    assert found.num_degraded == found.num_anonymous == 0


class Broken(SmallPipeline):
    def recommend(self, query: Query) -> RankedList:
        raise RuntimeError(f"a defect at {query.as_of_ms}")


def test_a_second_model_that_fails_or_is_the_first_leaves_the_first_ones_list() -> None:
    first, query = SmallPipeline(), Query(as_of_ms=1, user=None, limit=3)
    alone = first.recommend(query)
    interleaving = Interleaving(KEY, "salt", "second")
    for second in (first, Broken(version="second")):
        assert Interleaved(first, second, interleaving)(query) == alone
    drafted = Interleaved(first, SmallPipeline(version="second"), interleaving)(query)
    assert drafted.policy.startswith(f"team_draft experiment={KEY} ")


def test_the_coins_follow_from_the_lists_id_and_not_from_the_clock() -> None:
    a, b = SmallPipeline(), SmallPipeline(version="second")
    ids = [f"{number:032x}" for number in range(40)]
    drafted = [
        [
            Interleaved(a, b, Interleaving(KEY, "salt", "second"), list_id)(
                Query(as_of_ms=time_ms, user=None, limit=3)
            ).policy
            for list_id in ids
        ]
        for time_ms in (1, 10**12)
    ]
    assert drafted[0] == drafted[1]
    assert len(set(drafted[0])) > 1


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('model = "new-shop"\n', "", "different models to interleave"),
        ('model = "new-shop"\n', 'model = "new-shop"\nblurbs = "short"\n', "their model alone"),
    ],
)
def test_only_two_models_can_be_interleaved(tmp_path: Path, old: str, new: str, words: str) -> None:
    file = tmp_path / "new-model.toml"
    file.write_text(DEFINITION.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        load_experiment(file)
