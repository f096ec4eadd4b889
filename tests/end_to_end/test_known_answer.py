"""From files to answers over a real channel, in the shop whose right answers are known."""

import json
import shutil
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path

import polars as pl
import pytest
import structlog

from features.log import OfflineLog
from features.moments import offline_states
from features.registry import OnlineFeatures
from recsys.answer import Query
from recsys.cli import run
from recsys.event_log import EventLog
from recsys.ingest import ingest
from recsys.schema import AS_OF, ITEM_ID, LIST_ID, QUERY_ID, RANK, SCORE, SOURCES, USER_ID
from recsys.v1.event_service_pb2 import Event, EventStatus
from recsys.v1.recommendation_service_pb2 import RankRequest, RecommendRequest, RecommendResponse
from recsys.v1.types_pb2 import ServiceLevel
from recsys.workspace import Workspace
from serving.client import Client
from serving.loading import load_pipeline, load_states
from tests.conftest import Trained
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.tiny_shop import GROUP_SIZE, GROUPS, NEW_ITEM, group_of

FULL = ServiceLevel.SERVICE_LEVEL_FULL
NUM_REGULAR = GROUP_SIZE - 1


@pytest.fixture(scope="module")
def workspace(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A copy that a server may write to."""
    return Workspace(shutil.copytree(trained.workspace.root, tmp_path_factory.mktemp("served") / "workspace"))


@pytest.fixture(scope="module")
def client(workspace: Workspace) -> Iterator[Client]:
    """Connected to a server that stands at the end of the log."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    pipeline = load_pipeline(workspace)
    states = load_states(workspace, pipeline)
    with (
        running_server(workspace.root, pipeline, states, clock="replay") as address,
        Client(address, timeout_seconds=PATIENCE_SECONDS) as connected,
    ):
        yield connected
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def _own_log_settings() -> Iterator[None]:
    """The command line sets logging up for a process of its own."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def ids_of(response: RecommendResponse) -> list[str]:
    return [result.item_id for result in response.results]


def recsys(*argv: str) -> int:
    return run(argv, list(entry_points(group="recsys.commands")))


def test_home_begins_with_what_is_bought_again_and_goes_on_with_the_one_item_left(
    client: Client, trained: Trained
) -> None:
    for user_id, withheld in trained.shop.withheld.items():
        response = client.recommend(RecommendRequest(user_id=user_id))
        found = ids_of(response)
        assert set(found[:NUM_REGULAR]) == set(trained.shop.regular[user_id])
        assert found[NUM_REGULAR] == withheld
        assert response.service_level == FULL
        assert response.model_version == trained.version
        assert not response.degraded_reasons


def test_the_withheld_item_is_first_of_all_that_is_new(client: Client, trained: Trained) -> None:
    for user_id, withheld in trained.shop.withheld.items():
        request = RecommendRequest(user_id=user_id, exclude_item_ids=trained.shop.regular[user_id])
        assert ids_of(client.recommend(request))[0] == withheld


def test_contributions_and_base_value_add_up_to_every_score(client: Client, trained: Trained) -> None:
    user_id = next(iter(trained.shop.withheld))
    response = client.recommend(RecommendRequest(user_id=user_id, explain=True))
    assert len(response.results) == 20
    for result in response.results:
        parts = [contribution.contribution for contribution in result.explanation.contributions]
        assert result.explanation.base_value + sum(parts) == pytest.approx(result.score, abs=1e-6)
    assert response.results[0].reasons
    assert "own" in response.results[0].sources


def test_similar_items_are_of_the_same_group(client: Client, trained: Trained) -> None:
    strangers, num_found = 0, 0
    for item_id in trained.shop.items[ITEM_ID]:
        request = RecommendRequest(placement="similar_items", context_item_ids=[item_id])
        found = ids_of(client.recommend(request))
        assert len(found) >= 3
        assert item_id not in found
        num_found += len(found)
        strangers += sum(group_of(other) != group_of(item_id) for other in found)
    assert strangers <= 0.02 * num_found


def test_words_alone_say_where_a_new_item_belongs(client: Client) -> None:
    response = client.recommend(RecommendRequest(placement="similar_items", context_item_ids=[NEW_ITEM]))
    assert {group_of(item_id) for item_id in ids_of(response)} == {"coffee"}
    assert {tuple(result.sources) for result in response.results} == {("similar_text",)}


def test_somebody_unknown_is_ranked_too_and_finds_nothing_new_above_what_sells(
    client: Client, trained: Trained
) -> None:
    response = client.recommend(RecommendRequest(user_id="nobody", page_size=10))
    assert response.service_level == FULL
    assert list(response.degraded_reasons) == ["unknown_user"]
    assert len(set(ids_of(response))) == 10
    sold = set(trained.shop.history[ITEM_ID])
    best = max(result.score for result in response.results if result.item_id in sold)
    # Equal it may be: a forest of so few examples knows some ten scores.
    assert all(result.item_id in sold or result.score <= best for result in response.results)


def test_new_items_have_a_ranker_of_their_own_which_orders_novel_lists(
    workspace: Workspace, trained: Trained
) -> None:
    pipeline = load_pipeline(workspace)
    assert pipeline.bundle.rankers.keys() == {"all", "new"}
    log = EventLog(workspace.events)
    as_of_ms = (log.end_ms() or 0) + 1
    users = pl.DataFrame({USER_ID: list(trained.shop.withheld)}).with_row_index(QUERY_ID)
    queries = users.with_columns(pl.col(QUERY_ID).cast(pl.Int64), pl.lit(as_of_ms, pl.Int64).alias(AS_OF))
    config, catalogue = pipeline.config, pipeline.bundle.parts.catalogue
    states = offline_states(OfflineLog.of(log.scan(), queries, catalogue, config))
    source = OnlineFeatures(config.state)
    for query_id, (user_id, withheld) in enumerate(trained.shop.withheld.items()):
        query = Query(as_of_ms=as_of_ms, user=states[query_id], novel=True, limit=1_000)
        novel = pipeline.recommend(query)
        assert novel.items[0].item_id == withheld
        assert not {item.item_id for item in novel.items} & set(trained.shop.regular[user_id])
        candidates = pipeline.inspect(query).candidates.positions
        scores = pipeline.bundle.rankers["new"].scores(source.matrix(pipeline.moment(query), candidates))
        by_item = {
            catalogue.item_ids[i]: s for i, s in zip(candidates.tolist(), scores.tolist(), strict=True)
        }
        assert [item.score for item in novel.items] == [by_item[item.item_id] for item in novel.items]


def test_a_purchase_just_recorded_changes_the_next_answer(client: Client) -> None:
    bought = {f"garden-{number}" for number in range(3)}
    before = client.recommend(RecommendRequest(user_id="newcomer", page_size=50))
    assert list(before.degraded_reasons) == ["unknown_user"]
    assert not any("own" in result.sources for result in before.results)
    results = client.record_events(
        [Event(event_type="purchase", user_id="newcomer", item_id=item_id) for item_id in bought]
    )
    assert {result.status for result in results} == {EventStatus.EVENT_STATUS_ACCEPTED}
    after = client.recommend(RecommendRequest(user_id="newcomer", page_size=50))
    assert after.service_level == FULL
    assert not after.degraded_reasons
    assert {result.item_id for result in after.results if "own" in result.sources} == bought
    assert [result.score for result in after.results] != [result.score for result in before.results]


def test_rank_orders_the_callers_list(client: Client, trained: Trained) -> None:
    user_id, withheld = next(iter(trained.shop.withheld.items()))
    stranger, regular = "music-3", trained.shop.regular[user_id][0]
    response = client.rank(RankRequest(user_id=user_id, item_ids=[stranger, "unicorn", withheld, regular]))
    assert [result.item_id for result in response.results] == [regular, withheld, stranger]
    assert list(response.missing_item_ids) == ["unicorn"]
    scores = [result.score for result in response.results]
    assert scores == sorted(scores, reverse=True)


def test_the_recommend_command_writes_what_the_server_answers(
    client: Client, trained: Trained, tmp_path: Path
) -> None:
    users = list(trained.shop.withheld)
    pl.DataFrame({USER_ID: users}).write_csv(tmp_path / "users.csv")
    output = tmp_path / "lists.parquet"
    argv = ["--users", str(tmp_path / "users.csv"), "-k", "12", "--output", str(output)]
    assert recsys("recommend", *argv, "--workspace", str(trained.workspace.root)) == 0
    written = pl.read_parquet(output)
    assert written.columns == [USER_ID, ITEM_ID, RANK, SCORE, SOURCES]
    for (user_id,), rows in written.group_by(USER_ID, maintain_order=True):
        served = client.recommend(RecommendRequest(user_id=str(user_id), page_size=12))
        assert rows[ITEM_ID].to_list() == ids_of(served)
        assert rows[RANK].to_list() == list(range(1, 13))
        assert rows[SCORE].to_list() == pytest.approx([result.score for result in served.results])
        assert rows[SOURCES].to_list() == [list(result.sources) for result in served.results]


def test_the_novel_flag_leaves_out_what_the_user_had(trained: Trained, tmp_path: Path) -> None:
    users = list(trained.shop.withheld)
    pl.DataFrame({USER_ID: users}).write_parquet(tmp_path / "users.parquet")
    output = tmp_path / "lists.parquet"
    argv = ["--users", str(tmp_path / "users.parquet"), "--novel", "--output", str(output)]
    assert recsys("recommend", *argv, "--workspace", str(trained.workspace.root)) == 0
    first = pl.read_parquet(output).filter(pl.col(RANK) == 1)
    assert dict(first.select(USER_ID, ITEM_ID).iter_rows()) == trained.shop.withheld


def test_the_rank_command_writes_the_scores_that_the_server_gives(
    client: Client, trained: Trained, tmp_path: Path
) -> None:
    items = [*(f"{group}-0" for group in GROUPS), NEW_ITEM]
    rows = [
        (f"list of {user_id}", user_id, item_id) for user_id in trained.shop.withheld for item_id in items
    ]
    lists = pl.DataFrame(rows, schema=[LIST_ID, USER_ID, ITEM_ID], orient="row")
    lists.write_parquet(tmp_path / "lists.parquet")
    output = tmp_path / "scores.parquet"
    argv = ["--lists", str(tmp_path / "lists.parquet"), "--output", str(output)]
    assert recsys("rank", *argv, "--workspace", str(trained.workspace.root)) == 0
    written = pl.read_parquet(output)
    assert written.columns == [LIST_ID, ITEM_ID, SCORE]
    assert written.select(LIST_ID, ITEM_ID).equals(lists.select(LIST_ID, ITEM_ID))
    for (list_id, user_id), asked in lists.group_by(LIST_ID, USER_ID):
        served = client.rank(RankRequest(user_id=str(user_id), item_ids=asked[ITEM_ID].to_list()))
        ours = dict(written.filter(pl.col(LIST_ID) == list_id).select(ITEM_ID, SCORE).iter_rows())
        assert {result.item_id: result.score for result in served.results} == pytest.approx(ours)


def test_the_evaluation_reports_the_known_answer(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = Workspace(shutil.copytree(trained.workspace.root, tmp_path / "workspace"))
    trained.shop.items.write_parquet(tmp_path / "items.parquet")
    trained.shop.future.write_parquet(tmp_path / "events.parquet")
    ingest(workspace, tmp_path / "items.parquet", tmp_path / "events.parquet")
    output = tmp_path / "report.json"
    assert recsys("evaluate", "--output", str(output), "--workspace", str(workspace.root)) == 0
    report = json.loads(output.read_text())
    assert report.keys() >= {
        "dataset",
        "split",
        "num_users",
        "metrics",
        "slices",
        "baselines",
        "ablations",
        "candidates",
        "timings_seconds",
    }
    assert report["split"].keys() == {"train_until", "test_from", "test_to"}
    assert report["metrics"].keys() >= {"ndcg@10", "recall@10", "mrr@10", "hit@10", "coverage@10"}
    assert report["metrics"]["ndcg@10"].keys() >= {"value", "low", "high"}
    assert report["slices"].keys() >= {"novel", "cold_items", "warm_items", "new_users"}
    assert report["candidates"]["recall@500"].keys() == {"by_source", "merged"}
    assert {"popular", "personal_frequency"} <= report["baselines"].keys()
    assert {"frozen_text", "tuned_text"} <= report["ablations"].keys()

    assert report["metrics"]["ndcg@10"]["value"] > 0.99
    assert report["slices"]["novel"]["num_users"] == len(trained.shop.withheld)
    assert report["slices"]["novel"]["mrr@10"]["value"] > 0.95
    assert report["baselines"]["popular"]["novel"]["ndcg@10"]["value"] < 0.5
    assert (tmp_path / "report.html").exists()
    assert capsys.readouterr().out


def first_lists(workspace: Workspace, users: Sequence[str], output: Path) -> pl.DataFrame:
    flags = [flag for user_id in users for flag in ("--user", user_id)]
    assert recsys("recommend", *flags, "--output", str(output), "--workspace", str(workspace.root)) == 0
    return pl.read_parquet(output)


def test_training_twice_gives_the_same_lists(trained: Trained, tmp_path: Path) -> None:
    from training.recipe import train

    again = Workspace(tmp_path / "again")
    for name in ("items", "events"):
        shutil.copytree(trained.workspace.root / name, again.root / name)
    assert EventLog(again.events).end_ms() == EventLog(trained.workspace.events).end_ms()
    train(again, config=trained.config)
    users = list(trained.shop.withheld)
    first, second = (
        first_lists(workspace, users, tmp_path / f"{i}.parquet")
        for i, workspace in enumerate((trained.workspace, again))
    )
    assert first.equals(second)
