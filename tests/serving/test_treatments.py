"""Experiments in a running server: who gets what, what is logged of it, and what a change does."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from structlog.testing import capture_logs

from recsys.config import PlacementConfig
from recsys.experiments.bucketing import arm_placer
from recsys.experiments.exposures import read_exposures, scan_served_lists
from recsys.experiments.history import Running
from recsys.experiments.registry import ExperimentRegistry
from recsys.v1.event_service_pb2 import Event as EventMessage
from recsys.v1.experiment_service_pb2 import GetAssignmentsRequest, ListExperimentsRequest
from recsys.v1.experiment_service_pb2_grpc import ExperimentServiceStub
from recsys.v1.recommendation_service_pb2 import RankRequest, RecommendRequest, RecommendResponse
from recsys.workspace import Workspace
from serving.attribution_token import AttributionToken
from serving.client import Client
from serving.embedded_store import embedded_store
from serving.event import VISITOR_PREFIX
from serving.list_log import LIST_FILE, ListLog
from serving.models import Model, Models
from serving.origins import Origins
from serving.served_list import ServedList
from serving.signer import Signer, signing_keys
from serving.state_store import StateStore
from serving.store_clients import connect
from serving.treatments import Treatments
from serving.visitor_link import VisitorLink
from tests.recsys.experiments.small_experiment import parsed, toml
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.small_shop import SmallPipeline

DIVERSE = toml(treatment="placements = { home = { diversity = 0.3 } }")
USERS = [f"user-{number}" for number in range(20)]


def arm_of(unit: str) -> str:
    """What the hash gives a unit of the experiment ``e`` of two halves."""
    return "control" if arm_placer(parsed(DIVERSE))(unit) < 0.5 else "treatment"


def arms(answer: RecommendResponse) -> dict[str, str]:
    return {each.experiment: each.arm for each in answer.assignments}


def eventually(condition: Callable[[], bool]) -> None:
    """Poll until something holds that a server does within a second or so."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < until, "it never held"
        time.sleep(0.05)


def find(root: Path, answer: RecommendResponse) -> ServedList:
    signer = Signer(signing_keys(None, root / "state"), "default")
    list_id = AttributionToken.read(signer, answer.attribution_token).list_id
    with closing(ListLog(root / "state" / LIST_FILE)) as log:
        eventually(lambda: bool(log.find([list_id])))
        return log.find([list_id])[list_id]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shop")
    ExperimentRegistry(Workspace(root)).start(DIVERSE, "d.toml")
    return root


@pytest.fixture(scope="module")
def pipeline() -> SmallPipeline:
    return SmallPipeline()


@pytest.fixture(scope="module")
def client(shop: Path, pipeline: SmallPipeline) -> Iterator[Client]:
    with (
        running_server(shop, pipeline) as address,
        Client(address, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        yield client


def test_arms_follow_the_hash_and_change_the_placement(client: Client, pipeline: SmallPipeline) -> None:
    for user in USERS:
        answer = client.recommend(RecommendRequest(user_id=user, page_size=2))
        assert arms(answer) == {"e": arm_of(user)}
        parameters = pipeline.queries[-1].parameters
        assert (parameters is None) == (arm_of(user) == "control")
        if parameters is not None:
            expected = PlacementConfig(sources=("own",), diversity=0.3)
            assert parameters == expected
    assert {arm_of(user) for user in USERS} == {"control", "treatment"}


def test_lists_that_no_arm_could_change_are_no_exposures(client: Client) -> None:
    other = RecommendRequest(user_id="u", placement="similar_items", context_item_ids=["eggs"])
    assert arms(client.recommend(other)) == {}
    assert not client.rank(RankRequest(user_id="u", item_ids=["eggs"])).assignments


def test_every_page_and_its_record_carry_the_arm_of_the_first(client: Client, shop: Path) -> None:
    request = RecommendRequest(user_id="u", page_size=2, attributes={"experiment.e": "treatment"})
    first = client.recommend(request)
    request.page_token = first.next_page_token
    second = client.recommend(request)
    lists = find(shop, first), find(shop, second)
    for answer, served in zip((first, second), lists, strict=True):
        assert arms(answer) == {"e": "treatment"}
        assert (served.arms, served.forced) == ((("e", "treatment"),), ("e",))
        assert (served.versions, served.substituted) == ((1,), ())
    assert lists[0].server == lists[1].server
    assert 0 < lists[0].server_sequence < lists[1].server_sequence


def test_arms_can_be_asked_for_without_a_list(shop: Path) -> None:
    with running_server(shop) as address, grpc.insecure_channel(address) as channel:
        stub = ExperimentServiceStub(channel)
        [running] = stub.ListExperiments(ListExperimentsRequest()).experiments
        assert (running.key, running.version, running.coverage, running.layer) == ("e", 1, 1.0, "e")
        assert [(arm.key, arm.weight) for arm in running.arms] == [("control", 0.5), ("treatment", 0.5)]
        assert running.start_time.seconds > 0
        for user in USERS[:5]:
            [found] = stub.GetAssignments(GetAssignmentsRequest(user_id=user)).assignments
            assert (found.experiment, found.arm) == ("e", arm_of(user))
        for wrong in (
            GetAssignmentsRequest(),
            GetAssignmentsRequest(visitor_id="v" * 257),
            GetAssignmentsRequest(user_id="u", attributes={"experiment.e": "x"}),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                stub.GetAssignments(wrong)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_unknown_arm_is_told_the_known_ones(client: Client) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.recommend(RecommendRequest(user_id="u", attributes={"experiment.e": "x"}))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "expected one of the arms control, treatment" in str(caught.value.details())


def test_a_visitors_arm_follows_into_the_account(client: Client) -> None:
    visitor = next(f"v{number}" for number in range(99) if arm_of(f"v{number}") != arm_of("new-user"))
    both = RecommendRequest(user_id="new-user", visitor_id=visitor)
    assert arms(client.recommend(RecommendRequest(visitor_id=visitor))) == {"e": arm_of(visitor)}
    assert arms(client.recommend(both)) == {"e": arm_of(visitor)}  # the login itself may come after it
    login = EventMessage(event_type="view", item_id="eggs", user_id="new-user", visitor_id=visitor)
    client.record_events([login])
    for request in (both, RecommendRequest(user_id="new-user"), RecommendRequest(visitor_id=visitor)):
        assert arms(client.recommend(request)) == {"e": arm_of(visitor)}


def test_somebody_who_was_known_keeps_the_own_arm_after_a_login_elsewhere(client: Client) -> None:
    visitor = next(f"w{number}" for number in range(99) if arm_of(f"w{number}") != arm_of("old-user"))
    client.record_events([EventMessage(event_type="view", item_id="eggs", user_id="old-user")])
    client.record_events([EventMessage(event_type="view", item_id="eggs", visitor_id=visitor)])
    client.record_events(
        [EventMessage(event_type="view", item_id="eggs", user_id="old-user", visitor_id=visitor)]
    )
    assert arms(client.recommend(RecommendRequest(user_id="old-user"))) == {"e": arm_of("old-user")}


def test_a_server_takes_over_starts_ramps_and_stops_and_remembers_who_was_who(tmp_path: Path) -> None:
    registry = ExperimentRegistry(Workspace(tmp_path))
    visitor = next(f"v{number}" for number in range(99) if arm_of(f"v{number}") != arm_of("u"))
    with running_server(tmp_path) as address, Client(address, timeout_seconds=PATIENCE_SECONDS) as client:

        def asked(**who: str) -> dict[str, str]:
            return arms(client.recommend(RecommendRequest(**who)))  # type: ignore[arg-type]  # ids

        client.record_events(
            [EventMessage(event_type="view", item_id="eggs", user_id="u", visitor_id=visitor)]
        )
        assert asked(user_id="u") == {}
        registry.start(DIVERSE.replace('key = "e"', 'key = "e"\ncoverage = 0.000001', 1), "d.toml")
        registry.ramp("e", 1.0)
        eventually(lambda: asked(user_id="u") == {"e": arm_of(visitor)})
        assert asked(user_id="other") == {"e": arm_of("other")}
    with running_server(tmp_path) as address, Client(address, timeout_seconds=PATIENCE_SECONDS) as client:
        again = client.recommend(RecommendRequest(user_id="u"))
        assert arms(again) == {"e": arm_of(visitor)}  # rebuilt from the log
        registry.stop("e")
        eventually(lambda: arms(client.recommend(RecommendRequest(user_id="u"))) == {})
    found = read_exposures(scan_served_lists(Workspace(tmp_path)), "e")
    assert dict(found.units.select("unit_id", "arm").iter_rows()) == {
        "u": arm_of(visitor),
        "other": arm_of("other"),
    }
    assert (found.mixed.height, found.num_lost) == (0, 0)


def test_a_model_is_found_by_its_version_or_its_part() -> None:
    from recsys.experiments.book import ExperimentBook
    from recsys.registry import Pointers

    stable, canary = SmallPipeline("stable-1"), SmallPipeline("canary-1")
    models = Models(Model(stable))
    assert models.named("canary") is models.named("gone") is None
    loaded = {each.version: Model(each) for each in (stable, canary)}
    models.arrange(Pointers(stable="stable-1", canary="canary-1", canary_percent=50), loaded)
    assert models.named("canary") is models.named("canary-1") is canary
    assert models.named("stable") is stable
    assert not ExperimentBook()


def test_an_arm_whose_model_is_not_there_is_marked_counted_and_said_once(tmp_path: Path) -> None:
    from recsys.experiments.book import ExperimentBook

    registry, stable = ExperimentRegistry(Workspace(tmp_path)), SmallPipeline("stable-1")
    book = ExperimentBook([registry.start(toml(treatment='model = "gone"'), "d.toml")])

    text = toml("both", top="interleave = true", treatment='model = "gone"')
    interleaving = ExperimentBook([Running(parsed(text), 1, 1.0, datetime.now(UTC))])

    async def scenario() -> None:
        with embedded_store() as url:
            store = StateStore(connect(url, 1000), "t", stable.config.state)
            treatments = Treatments(Models(Model(stable)), Origins(store, 5.0))
            treatments.use_book(book)
            for user in USERS:
                chosen = await treatments.choose(user, "", "home", {})
                expected = ("e",) if arm_of(user) == "treatment" else ()
                assert (chosen.pipeline, chosen.treatment.record.substituted) == (stable, expected)
                assert chosen.treatment.record.versions == (1,)
            treated = sum(arm_of(user) == "treatment" for user in USERS)
            assert treatments.substitutions.counts == {"e": treated}
            treatments.use_book(interleaving)
            both = await treatments.choose("u", "", "home", {})
            assert (both.pipeline, both.drafted, both.treatment.substituted) == (stable, None, ("both",))
            await store.close()

    with capture_logs() as said:
        asyncio.run(scenario())
    warnings = [line for line in said if "not in memory" in line["event"]]
    assert [(each["experiment"], each["model"]) for each in warnings] == [("e", "gone"), ("both", "gone")]


def test_a_later_version_of_the_same_arms_has_its_own_parameters() -> None:
    from recsys.experiments.book import ExperimentBook

    user = next(user for user in USERS if arm_of(user) == "treatment")

    async def scenario() -> None:
        with embedded_store() as url:
            store = StateStore(connect(url, 1000), "t", SmallPipeline().config.state)
            treatments = Treatments(Models(Model(SmallPipeline())), Origins(store, 5.0))
            for version, diversity in ((1, 0.3), (2, 0.6)):
                text = DIVERSE.replace("0.3", str(diversity))
                # as when a request that began before the change puts its parameters in after it
                treatments.book = ExperimentBook([Running(parsed(text), version, 1.0, datetime.now(UTC))])
                chosen = await treatments.choose(user, "", "home", {})
                assert chosen.parameters is not None
                assert chosen.parameters.diversity == diversity
            await store.close()

    asyncio.run(scenario())


def test_whoever_was_assigned_by_an_id_stays_it_whatever_comes_to_be_known() -> None:
    async def scenario() -> None:
        with embedded_store() as url:
            client = connect(url, 1000)
            store = StateStore(client, "t", SmallPipeline().config.state)
            first = Origins(store, 5.0)
            assert await first.unit("u", "v") == "v"
            await client.set(store.keys.state("u"), b"a state, as of events with the user's id only")
            for origins in (first, Origins(store, 5.0)):
                assert await origins.unit("u", "v") == await origins.unit("u", "") == "v"
            assert await first.unit("w", "") == "w"
            await store.merge(VISITOR_PREFIX + "v2", VisitorLink("w", 1))  # the first event of the user
            for origins in (first, Origins(store, 5.0)):
                assert await origins.unit("w", "v2") == await origins.unit("w", "") == "w"
            await store.close()

    asyncio.run(scenario())


def test_while_the_store_is_away_experiments_leave_users_alone(tmp_path: Path) -> None:
    registry = ExperimentRegistry(Workspace(tmp_path))
    from recsys.experiments.book import ExperimentBook

    book = ExperimentBook([registry.start(DIVERSE, "d.toml")])

    async def scenario() -> None:
        with embedded_store() as url:
            store = StateStore(connect(url, 1000), "t", SmallPipeline().config.state)
            treatments = Treatments(Models(Model(SmallPipeline())), Origins(store, 5.0))
            treatments.use_book(book)
            await store.learn_origins([("met", VISITOR_PREFIX + "v")])
            assert (await treatments.choose("met", "", "home", {})).treatment.arms == (("e", arm_of("v")),)
        assert (await treatments.choose("u", "", "home", {})).treatment.arms == ()
        assert (await treatments.choose("met", "", "home", {})).treatment.arms == (("e", arm_of("v")),)
        assert (await treatments.choose("", "w", "home", {})).treatment.arms == (("e", arm_of("w")),)
        assert (await treatments.choose("", "", "home", {})).treatment.arms == ()
        await store.close()

    asyncio.run(scenario())
