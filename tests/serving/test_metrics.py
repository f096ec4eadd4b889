"""Tests of what is exported about calls, over a real server and its real endpoint."""

import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from recsys.answer import RankedItem, RankedList, ServiceLevel
from recsys.experiments.registry import ExperimentRegistry
from recsys.v1.event_service_pb2 import Event
from recsys.v1.recommendation_service_pb2 import RankRequest, RecommendRequest
from recsys.workspace import Workspace
from serving.call import Call
from serving.client import Client
from serving.metrics import CallMetrics
from serving.metrics_endpoint import metrics_endpoint
from tests.recsys.experiments.small_experiment import toml
from tests.serving.running import PATIENCE_SECONDS, free_port, running_server
from tests.serving.small_shop import ITEM_IDS, VERSION
from tests.serving.test_server import health_of

RECOMMEND = "/recsys.v1.RecommendationService/Recommend"
RANK = "/recsys.v1.RecommendationService/Rank"
RECORD = "/recsys.v1.EventService/RecordEvents"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(port: int) -> Samples:
    """Every sample of an endpoint by name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_SECONDS) as answer:
        text = answer.read().decode()
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samples]:
    port, root = free_port(), tmp_path_factory.mktemp("workspace")
    ExperimentRegistry(Workspace(root)).start(toml("aa"), "d.toml")
    with (
        running_server(root, metrics_port=port) as where,
        Client(where, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        client.record_events([Event(event_type="purchase", user_id="alice", item_id="eggs")])
        client.record_events([Event(event_type="wish", user_id="alice", item_id="eggs")])
        for _ in range(3):
            client.recommend(RecommendRequest(user_id="alice"))
        client.recommend(RecommendRequest(user_id="nobody", explain=True))
        for placement in ("home", "buy_it_again", "buy_it_again"):
            client.recommend(
                RecommendRequest(user_id="alice", placement=placement, exclude_item_ids=ITEM_IDS)
            )
        first = client.recommend(RecommendRequest(user_id="alice", page_size=2))
        page = RecommendRequest(user_id="alice", page_size=2, page_token=first.next_page_token)
        assert client.recommend(page).results
        health_of(where, "")
        client.rank(RankRequest(user_id="alice", item_ids=["eggs", "bread"]))
        with pytest.raises(grpc.RpcError):
            client.recommend(RecommendRequest(user_id="alice", placement="attic"))
        refused = ("recsys_calls_total", frozenset({("method", RECOMMEND), ("status", "INVALID_ARGUMENT")}))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while refused not in (found := scrape(port)):  # a call is counted when it has ended here, not there
            assert time.monotonic() < deadline
        yield found


def test_calls_are_counted_by_method_and_status(samples: Samples) -> None:
    assert value(samples, "recsys_calls_total", method=RECOMMEND, status="OK") == 9
    assert value(samples, "recsys_calls_total", method=RECOMMEND, status="INVALID_ARGUMENT") == 1
    assert value(samples, "recsys_calls_total", method=RECORD, status="OK") == 2
    assert value(samples, "recsys_calls_running") == 0


@pytest.mark.parametrize("stage", ["state", "ranking", "encode"])
def test_every_stage_is_timed(samples: Samples, stage: str) -> None:
    num_ranked = 9 if stage == "encode" else 8  # a later page is not ranked again
    assert value(samples, "recsys_stage_seconds_count", method=RECOMMEND, stage=stage) == num_ranked
    whole = value(samples, "recsys_call_seconds_sum", method=RECOMMEND)
    assert 0 < value(samples, "recsys_stage_seconds_sum", method=RECOMMEND, stage=stage) < whole


def test_answers_are_counted_by_how_good_they_were(samples: Samples) -> None:
    name = "recsys_answers_total"
    assert value(samples, name, method=RECOMMEND, placement="home", service_level="FULL") == 5
    assert value(samples, name, method=RECOMMEND, placement="home", service_level="POPULAR") == 1
    assert value(samples, "recsys_degraded_answers_total", reason="explanation_unavailable") == 1
    assert value(samples, "recsys_candidates_sum", method=RANK, placement="home") == 2


def test_answers_are_counted_by_arm(samples: Samples) -> None:
    counted = {
        (labels["arm"], labels["outcome"]): number
        for (name, pairs), number in samples.items()
        if name == "recsys_experiment_answers_total"
        for labels in [dict(pairs)]
        if labels["experiment"] == "aa"
    }
    assert {outcome for _, outcome in counted} <= {"FULL", "POPULAR"}
    assert sum(counted.values()) == 9  # 8 first pages and a list of the caller's own


def test_an_empty_list_of_what_one_had_is_told_from_one_that_should_not_be(samples: Samples) -> None:
    def empty(method: str, placement: str, cause: str) -> float:
        return value(samples, "recsys_empty_answers_total", method=method, placement=placement, cause=cause)

    assert empty(RANK, "home", "unexpected") == 0
    assert empty(RECOMMEND, "home", "unexpected") == 1
    assert empty(RECOMMEND, "buy_it_again", "no_history") == 2
    assert empty(RECOMMEND, "buy_it_again", "unexpected") == 0


def test_without_the_state_an_empty_list_is_not_normal() -> None:
    registry = CollectorRegistry()
    metrics = CallMetrics(registry, lambda placement: placement == "buy_it_again")
    for reasons in (("no_candidates",), ("no_candidates", "state_unavailable")):
        answer = RankedList((), ServiceLevel.POPULAR, VERSION, degraded_reasons=reasons)
        metrics(Call(RECOMMEND, (), "id", status="OK", placement="buy_it_again", answer=answer))
    counted = {
        cause: registry.get_sample_value(
            "recsys_empty_answers_total", {"method": RECOMMEND, "placement": "buy_it_again", "cause": cause}
        )
        for cause in ("no_history", "unexpected")
    }
    assert counted == {"no_history": 1, "unexpected": 1}
    name = "recsys_degraded_answers_total"
    assert registry.get_sample_value(name, {"reason": "no_candidates"}) == 1


def test_later_pages_are_counted_apart(samples: Samples) -> None:
    assert value(samples, "recsys_later_pages_total", placement="home", service_level="FULL") == 1
    assert value(samples, "recsys_candidates_count", method=RECOMMEND, placement="home") == 6


def test_events_are_counted_by_outcome(samples: Samples) -> None:
    assert value(samples, "recsys_events_total", outcome="ACCEPTED") == 1
    assert value(samples, "recsys_events_total", outcome="REJECTED") == 1


def test_health_checks_are_not_counted(samples: Samples) -> None:
    assert "grpc.health" not in str(samples)


def test_the_parts_tell_how_they_are(samples: Samples) -> None:
    assert value(samples, "recsys_model_info", version=VERSION) == 1
    assert value(samples, "recsys_worker_info", worker="0") == 1
    assert value(samples, "recsys_state_breaker_open") == 0
    assert value(samples, "recsys_unreadable_states_total") == 0
    assert value(samples, "recsys_buffered_events") == 1
    assert value(samples, "recsys_unapplied_events") == 0
    assert value(samples, "recsys_score_mean", model_version=VERSION, placement="home") == pytest.approx(
        1, rel=1e-3
    )
    assert value(samples, "process_resident_memory_bytes") > 0


def test_nothing_that_a_caller_made_up_becomes_a_label(samples: Samples) -> None:
    assert not any(word in str(samples) for word in ("alice", "eggs", "attic", "wish"))


def test_a_further_worker_takes_the_next_port(tmp_path: Path) -> None:
    port = free_port()
    with (
        running_server(tmp_path / "one", metrics_port=port),
        running_server(tmp_path / "two", metrics_port=port) as where,
        Client(where, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        client.recommend(RecommendRequest(user_id="u"))
        # another program may hold the very next port
        counted = [scrape_or_nothing(number) for number in range(port, port + 8)]
    assert sum((RECOMMEND in str(found)) for found in counted) == 1


def test_a_worker_has_the_port_of_its_number() -> None:
    with metrics_endpoint("127.0.0.1", port := free_port(), CollectorRegistry(), worker=3) as bound:
        assert bound >= port + 3  # another program may hold that very port
    with metrics_endpoint("127.0.0.1", 0, CollectorRegistry(), worker=3) as bound:
        assert bound > 0


def scrape_or_nothing(port: int) -> Samples:
    try:
        return scrape(port)
    except OSError:
        return {}


def test_only_the_last_models_are_followed() -> None:
    registry = CollectorRegistry()
    metrics = CallMetrics(registry)
    for number in range(9):
        metrics(made_call(f"model-{number}", score=float(number)))
    followed = {
        sample.labels["model_version"]
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "recsys_score_mean"
    }
    assert followed == {"model-5", "model-6", "model-7", "model-8"}


def made_call(version: str, score: float) -> Call:
    items = (RankedItem("eggs", score),)
    answer = RankedList(items, ServiceLevel.FULL, version, num_candidates=1)
    return Call(RECOMMEND, (), "id", status="OK", placement="home", answer=answer)
