"""The gate over a real log, real served lists and a model that knows what is liked."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.answer import Query
from recsys.config import SamplingConfig
from recsys.draw_policy import DrawPolicy
from recsys.event_log import EventLog
from recsys.experiments.served_policy import RescoredList, rescored_log
from recsys.promotion import gate_names, promote
from recsys.registry import Registry
from recsys.schema import SERVED_LIST_SCHEMA
from recsys.workspace import Workspace
from serving.batch import recommend_queries, single_queries
from serving.event import Event, event_frame
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

OLD, NEW = "old-shop", "new-shop"
NUM_LISTS, NUM_USERS, HOUR_MS = 1_200, 100, 3_600_000
POLICY = DrawPolicy(temperature=0.4, pool=8, places=1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two bundles of one shop, the first of which serves; nothing was served yet."""
    root: Path = tmp_path_factory.mktemp("offpolicy")
    workspace, config = Workspace(root / "workspace"), small_config(greengrocer_encoder(root / "encoder"))
    history = shopping(greengrocer(), num_users=NUM_USERS, num_days=20)
    registry = Registry(workspace.registry)
    for version in (OLD, NEW):
        write_shop_bundle(registry.path(version), config, greengrocer(), events_frame(history))
    EventLog(workspace.events).append(
        event_frame(
            Event(f"e{number}", kind, user, item, time_ms, time_ms)
            for number, (user, item, kind, time_ms) in enumerate(history)
        ),
        "history",
    )
    registry.promote(OLD)
    workspace.config.write_text("[promotion]\nslots = 1\n", encoding="utf-8")
    return workspace


@pytest.fixture
def workspace(shop: Workspace, tmp_path: Path) -> Workspace:
    copy = Workspace(tmp_path / "workspace")
    copy.root.mkdir()
    for name in ("registry", "recsys.toml", "items"):
        if (shop.root / name).exists():
            (copy.root / name).symlink_to(shop.root / name)
    EventLog(copy.events).append(EventLog(shop.events).scan().drop("effective_time").collect(), "history")
    return copy


def serve(
    workspace: Workspace, liked: float, *, policy: str = POLICY.text, num_lists: int = NUM_LISTS
) -> None:
    """Lists drawn uniformly from a user's first items; the better half is clicked ``liked`` often."""
    users = [f"user-{number}" for number in range(NUM_USERS)]
    answers = recommend_queries(workspace, single_queries(users, []), at_ms=NOW + HOUR_MS, limit=POLICY.pool)
    random = np.random.default_rng(0)
    lists, clicks = [], []
    for number in range(num_lists):
        pool = answers.lists[number % NUM_USERS].items
        at = int(random.integers(len(pool)))
        time = datetime.fromtimestamp(NOW / 1000, UTC) + timedelta(hours=1, seconds=number)
        user, list_id = users[number % NUM_USERS], f"list-{number}"
        row = {
            "list_id": list_id,
            "served_time": time,
            "subject": user,
            "placement": "home",
            "request_id": "r",
            "model_version": OLD,
            "service_level": "FULL",
            "item_ids": [pool[at].item_id],
            "scores": [0.0],
            "propensities": [1 / len(pool)],
            "first_position": 0,
            "first_list_id": None,
            "arms": [],
        }
        lists.append(row)
        if random.random() < (liked if at < len(pool) / 2 else 0.6 - liked):
            later = round(time.timestamp() * 1000) + 30 * 24 * HOUR_MS
            clicks.append(Event(f"c{number}", "click", user, pool[at].item_id, later, later, list_id=list_id))
    frame = pl.DataFrame(lists, schema={**SERVED_LIST_SCHEMA}).with_columns(policy=pl.lit(policy))
    directory = workspace.served_lists / "day=2024-10-04"
    directory.mkdir(parents=True)
    frame.write_parquet(directory / "lists-1-2.parquet")
    EventLog(workspace.events).append(event_frame(clicks), "clicks")


def test_a_model_that_would_have_earned_more_is_promoted(workspace: Workspace) -> None:
    assert "offpolicy" in gate_names()
    serve(workspace, liked=0.5)
    [gate] = promote(workspace, NEW, ["offpolicy"], part="shadow").gates
    assert gate.reasons == ()
    assert gate.figures["num_lists"] == NUM_LISTS
    assert 0 < gate.figures["difference"]["low"] < gate.figures["difference"]["estimate"]


def test_a_few_lists_carry_no_verdict(workspace: Workspace) -> None:
    serve(workspace, liked=0.1, num_lists=60)
    decided = promote(workspace, NEW, ["offpolicy"])
    assert decided.verdict == "refused"
    assert any("effective sample size" in reason for reason in decided.reasons)
    assert any("click per list is -" in reason for reason in decided.reasons)


def test_without_lists_or_without_drawn_ones_the_gate_says_so(workspace: Workspace) -> None:
    [reason] = promote(workspace, NEW, ["offpolicy"]).reasons
    assert "no served lists" in reason
    serve(workspace, liked=0.5, policy="", num_lists=20)
    [reason] = promote(workspace, NEW, ["offpolicy"]).reasons
    assert "none of 20 lists was drawn at random" in reason


def test_places_that_were_not_drawn_are_not_judged(workspace: Workspace) -> None:
    serve(workspace, liked=0.5, num_lists=20)
    workspace.config.unlink()
    workspace.config.write_text("[promotion]\nslots = 2\n", encoding="utf-8")
    [reason] = promote(workspace, NEW, ["offpolicy"]).reasons
    assert "promotion.slots is 2, but only the first 1 places" in reason
    assert "Expected slots of at most 1" in reason


def test_the_model_that_serves_need_not_be_compared_with_itself(workspace: Workspace) -> None:
    assert promote(workspace, OLD, ["offpolicy"]).verdict == "promoted"


def test_lists_of_another_model_say_nothing_of_the_one_that_serves(workspace: Workspace) -> None:
    serve(workspace, liked=0.5, num_lists=20)
    for file in workspace.served_lists.glob("day=*/*.parquet"):
        pl.read_parquet(file).with_columns(model_version=pl.lit("another")).write_parquet(file)
    [reason] = promote(workspace, NEW, ["offpolicy"]).reasons
    assert "served no list after" in reason


def test_the_model_that_drew_a_list_has_the_propensities_that_it_logged(shop: Workspace) -> None:
    pipeline = load_pipeline(shop)
    home = pipeline.config.placements["home"]
    sampling = SamplingConfig(share=1.0, temperature=0.3, places=4, pool=8)
    policy, lists = DrawPolicy(0.3, 8, 4), []
    for second in range(20):
        query = Query(as_of_ms=NOW + second * 1000, user=None, limit=5, subject=f"user-{second}")
        drawn = pipeline.recommend(replace(query, parameters=home.model_copy(update={"sampling": sampling})))
        assert DrawPolicy.read(drawn.policy) == policy
        offered = pipeline.recommend(replace(query, parameters=home, limit=policy.pool)).items
        lists.append(
            RescoredList(
                user=query.subject,
                item_ids=[item.item_id for item in drawn.items],
                propensities=[item.propensity for item in drawn.items],
                rewards=[0.0] * len(drawn.items),
                offered=[item.item_id for item in offered],
                scores=sorted([item.score for item in offered], reverse=True),
            )
        )
    assert len({tuple(one.item_ids) for one in lists}) > 10
    assert rescored_log(lists, policy.temperature, 4).ratio == pytest.approx(1.0, rel=1e-9)
