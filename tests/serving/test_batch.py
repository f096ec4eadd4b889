import io
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from features.states import states_at
from recsys.answer import Query
from recsys.errors import ConfigError, DataError, InvalidRequestError, LeakageError
from recsys.event_log import EventLog
from recsys.log_shards import reshard
from recsys.schema import (
    AS_OF,
    CONTEXT_ITEM_IDS,
    EVENT_TIME,
    ITEM_ID,
    LIST_ID,
    QUERY_ID,
    RANK,
    SCORE,
    USER_ID,
)
from recsys.workspace import Workspace
from serving.batch import rank_lists, read_lists, read_queries, recommend_queries, single_queries
from serving.loading import load_pipeline
from tests.conftest import Trained
from tests.tiny_shop import CUT, CUT_MS, NEW_ITEM

ANN, BOB = "coffee-user0", "music-user1"


def test_every_query_gets_its_list_in_the_order_asked(trained: Trained) -> None:
    answers = recommend_queries(trained.workspace, single_queries([BOB, "nobody", ANN], []), limit=3)
    frame = answers.frame()
    assert frame[USER_ID].to_list() == [BOB] * 3 + ["nobody"] * 3 + [ANN] * 3
    assert frame[RANK].to_list() == [1, 2, 3] * 3
    assert set(frame[ITEM_ID].to_list()[:3]) <= set(trained.shop.regular[BOB])
    assert set(frame[ITEM_ID].to_list()[6:]) <= set(trained.shop.regular[ANN])


def test_a_log_in_shards_answers_as_a_whole_one_does(
    trained: Trained, later: Workspace, tmp_path: Path
) -> None:
    queries = pl.DataFrame({USER_ID: [*list(trained.shop.withheld)[:20], "new", "new"]})
    shutil.copytree(later.root, tmp_path / "cut", symlinks=True)
    cut = Workspace(tmp_path / "cut")
    reshard(cut.events, 4)
    expected, found = (recommend_queries(where, queries) for where in (later, cut))
    assert found.frame().equals(expected.frame())


def test_a_query_keeps_its_id_and_its_own_moment(later: Workspace, trained: Trained) -> None:
    """The later query of the same user has seen the withheld item being bought, although it comes first."""
    moments = [CUT + timedelta(days=14), CUT]
    queries = pl.DataFrame({QUERY_ID: [7, 3], USER_ID: [ANN, ANN], EVENT_TIME: moments})
    frame = recommend_queries(later, queries, limit=5, novel=True).frame()
    assert frame.columns[:2] == [QUERY_ID, USER_ID]
    after, before = (frame.filter(pl.col(QUERY_ID) == query_id)[ITEM_ID].to_list() for query_id in (7, 3))
    assert before[0] == trained.shop.withheld[ANN]
    assert trained.shop.withheld[ANN] not in after


def test_only_what_the_filter_asks_for_is_recommended(trained: Trained, tmp_path: Path) -> None:
    queries = single_queries([BOB], [])
    found = recommend_queries(trained.workspace, queries, item_filter='brand = "coffee house"', limit=3)
    assert all(item_id.startswith("coffee-") for item_id in found.frame()[ITEM_ID])
    assert found.frame().height == 3
    with pytest.raises(InvalidRequestError, match="filter: expected a column"):
        recommend_queries(Workspace(tmp_path), queries, item_filter="color = red")


def test_what_is_not_personal_is_said(trained: Trained) -> None:
    queries = single_queries([ANN, "nobody"], ["gone"])
    found = recommend_queries(trained.workspace, queries, placement="similar_items", limit=2)
    told = found.remarks()
    assert [line.split(":")[0] for line in told] == [f"user {ANN}"] * 2 + ["user nobody"] * 2
    assert told[0] == f"user {ANN}: not in the catalogue: gone"
    assert "unknown_context" in told[1]
    strangers = recommend_queries(trained.workspace, single_queries([ANN, "nobody"], []), limit=2)
    assert strangers.remarks() == ["user nobody has no history at that time: ranked as anybody new is"]
    nothing = recommend_queries(trained.workspace, single_queries([ANN], []), item_filter="brand = none")
    assert nothing.remarks()[-1] == f"user {ANN}: no item is left to show"


def test_a_replayed_moment_is_answered_as_a_pipeline_standing_there(later: Workspace) -> None:
    moments_ms = [CUT_MS + days * 86_400_000 for days in (9, 1, 5)]
    times = [datetime.fromtimestamp(ms / 1000, UTC) for ms in moments_ms]
    queries = pl.DataFrame({USER_ID: [ANN, BOB, "nobody"], EVENT_TIME: times})
    answers = recommend_queries(later, queries, limit=8)
    for user_id, as_of_ms, answer in zip(queries[USER_ID], moments_ms, answers.lists, strict=True):
        alone = load_pipeline(later, at_ms=as_of_ms)
        asked = pl.DataFrame({USER_ID: [user_id], AS_OF: [as_of_ms]})
        [(_, state)] = states_at(
            EventLog(later.events).scan(), asked, alone.bundle.parts.catalogue, alone.config
        )
        expected = alone.recommend(Query(as_of_ms=as_of_ms, user=state, limit=8))
        assert [item.item_id for item in answer.items] == [item.item_id for item in expected.items]
        assert [i.score for i in answer.items] == pytest.approx([i.score for i in expected.items], rel=1e-6)


def test_rows_without_a_time_stand_at_the_given_moment_and_else_at_the_end_of_the_log(
    later: Workspace, trained: Trained
) -> None:
    queries = pl.DataFrame({USER_ID: [ANN, ANN], EVENT_TIME: [CUT, None]})
    withheld = trained.shop.withheld[ANN]
    at_the_end, at_the_cut = (
        recommend_queries(later, queries, at_ms=at_ms, limit=6, novel=True).lists for at_ms in (None, CUT_MS)
    )
    assert [withheld == ranked.items[0].item_id for ranked in at_the_end] == [True, False]
    assert [withheld == ranked.items[0].item_id for ranked in at_the_cut] == [True, True]


def test_a_moment_that_the_model_has_seen_is_refused(trained: Trained) -> None:
    with pytest.raises(LeakageError, match="bundle"):
        recommend_queries(trained.workspace, single_queries([ANN], []), at_ms=CUT_MS - 14 * 86_400_000)


def test_nobody_to_answer_is_an_error(trained: Trained) -> None:
    with pytest.raises(DataError):
        recommend_queries(trained.workspace, single_queries([], []))


def test_context_items_start_a_list_without_a_user(trained: Trained) -> None:
    queries = single_queries(["nobody"], [NEW_ITEM, "unicorn"])
    [answer] = recommend_queries(trained.workspace, queries, placement="similar_items", limit=3).lists
    assert answer.missing_item_ids == ("unicorn",)
    assert NEW_ITEM not in {item.item_id for item in answer.items}
    assert len(answer.items) == 3


def test_a_search_needs_nobody_and_reads_what_is_meant(trained: Trained) -> None:
    found = recommend_queries(
        trained.workspace, single_queries([""], []), placement="search", words="coffee", limit=3
    )
    [ranked] = found.lists
    assert ranked.items
    assert "query_by_words_only" not in ranked.degraded_reasons  # the bundle has an encoder
    assert found.remarks() == []


@pytest.mark.parametrize(
    ("user_id", "placement", "told"),
    [
        ("", "home", "--user"),
        ("", "cart", "--context"),
        ("", "search", "--query"),
        (ANN, "search", "--query"),
    ],
)
def test_what_a_placement_starts_from_must_be_said(
    trained: Trained, user_id: str, placement: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        recommend_queries(trained.workspace, single_queries([user_id], []), placement=placement)


def test_rules_of_the_workspace_apply_and_the_document_says_so(trained: Trained, tmp_path: Path) -> None:
    shop = Workspace(tmp_path)
    for name in ("items", "events", "registry"):
        (tmp_path / name).symlink_to(getattr(trained.workspace, name), target_is_directory=True)
    item_id = trained.shop.regular[BOB][0]
    shop.rules.write_text(
        f'[[rules]]\nname = "first"\naction = "pin"\nitem_id = "{item_id}"\nposition = 0\n'
        'attributes = { country = "NL" }\n',
        encoding="utf-8",
    )
    asked = single_queries([ANN], [])
    [answer] = json.loads(recommend_queries(shop, asked, attributes={"country": "NL"}).to_json())["answers"]
    top = answer["results"][0]
    assert (top[ITEM_ID], top["propensity"]) == (item_id, 1.0)
    assert [(step["rule"], step["to_position"]) for step in top["rule_steps"]] == [("first", 0)]
    assert recommend_queries(shop, asked).lists[0].items[0].item_id != item_id


def test_the_json_document_tells_reasons_and_exact_contributions(trained: Trained) -> None:
    queries = single_queries([ANN, "nobody"], [])
    answers = recommend_queries(trained.workspace, queries, limit=2, explain=True)
    known, unknown = json.loads(answers.to_json())["answers"]
    assert (known[USER_ID], known["service_level"], known["model_version"]) == (ANN, "FULL", trained.version)
    first = known["results"][0]
    explanation = first["explanation"]
    parts = sum(contribution["contribution"] for contribution in explanation["contributions"])
    assert explanation["base_value"] + parts == pytest.approx(first[SCORE], abs=1e-6)
    assert first[RANK] == 1
    assert (unknown["service_level"], unknown["degraded_reasons"]) == ("FULL", ["unknown_user"])


def test_the_table_names_the_titles(trained: Trained) -> None:
    answers = recommend_queries(trained.workspace, single_queries([ANN], []), limit=2, explain=True)
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(answers.table())
    titles = dict(trained.shop.items.select(ITEM_ID, "title").iter_rows())
    shown = console.export_text()
    assert ANN in shown
    assert all(titles[item.item_id] in shown for item in answers.lists[0].items)


def test_lists_are_scored_in_the_order_given_and_unknown_items_get_no_score(trained: Trained) -> None:
    regular, withheld = trained.shop.regular[ANN][0], trained.shop.withheld[ANN]
    rows = [
        ("b", ANN, withheld),
        ("a", BOB, regular),
        ("b", ANN, "unicorn"),
        ("b", ANN, regular),
        ("b", ANN, "music-3"),
        ("a", BOB, trained.shop.regular[BOB][0]),
    ]
    lists = pl.DataFrame(rows, schema=[LIST_ID, USER_ID, ITEM_ID], orient="row")
    scored = rank_lists(trained.workspace, lists)
    assert scored.select(LIST_ID, ITEM_ID).equals(lists.select(LIST_ID, ITEM_ID))
    new, strange_to_bob, unknown, again, strange, again_for_bob = scored[SCORE]
    assert again > new > strange
    assert again_for_bob > strange_to_bob
    assert unknown is None


def test_a_list_stands_at_its_own_moment(later: Workspace, trained: Trained) -> None:
    items = [trained.shop.withheld[ANN], trained.shop.regular[ANN][0]]
    moments = {"before": CUT, "after": CUT + timedelta(days=14)}
    rows = [(name, ANN, item, moment) for name, moment in moments.items() for item in items]
    lists = pl.DataFrame(rows, schema=[LIST_ID, USER_ID, ITEM_ID, EVENT_TIME], orient="row")
    found = rank_lists(later, lists)
    apart = [
        rank_lists(
            later,
            lists.filter(pl.col(LIST_ID) == name).drop(EVENT_TIME),
            at_ms=round(moment.timestamp() * 1000),
        )
        for name, moment in moments.items()
    ]
    assert found.equals(pl.concat(apart))
    assert found[SCORE][0] != found[SCORE][2]


def test_queries_may_be_csv_with_times_and_contexts(tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_text('user_id,event_time,context_item_ids\n007,2024-06-03T00:00:00Z,"a,b"\nbob,,\n')
    frame = read_queries(path)
    assert frame[USER_ID].to_list() == ["007", "bob"]
    assert frame[EVENT_TIME].to_list() == [datetime(2024, 6, 3, tzinfo=UTC), None]
    assert frame[CONTEXT_ITEM_IDS].to_list() == [["a", "b"], None]


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2024-06-03", datetime(2024, 6, 3, tzinfo=UTC)),
        ("2024-06-03T05:00:00", datetime(2024, 6, 3, 5, tzinfo=UTC)),
        ("2024-06-03 05:00:00", datetime(2024, 6, 3, 5, tzinfo=UTC)),
        ("2024-06-03T05:00:00.250+02:00", datetime(2024, 6, 3, 3, 0, 0, 250_000, tzinfo=UTC)),
    ],
)
def test_a_time_without_a_zone_is_utc(tmp_path: Path, time: str, expected: datetime) -> None:
    (tmp_path / "users.csv").write_text(f"user_id,event_time\nann,{time}\n")
    assert read_queries(tmp_path / "users.csv")[EVENT_TIME].to_list() == [expected]


def test_a_time_that_is_none_is_an_error_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("user_id,event_time\nann,yesterday\n")
    with pytest.raises(DataError, match="event_time"):
        read_queries(tmp_path / "users.csv")


@pytest.mark.parametrize("content", ["user_id,list_id\nann,1\n", "user_id,item_id,list_id\nann,,1\n"])
def test_a_list_lacks_nothing_that_it_needs(tmp_path: Path, content: str) -> None:
    (tmp_path / "lists.csv").write_text(content)
    with pytest.raises(DataError, match="item_id"):
        read_lists(tmp_path / "lists.csv")


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text("user_id\nann\n")
    (tmp_path / "broken.parquet").write_text("no parquet")
    for name in ("users.txt", "broken.parquet", "missing.csv"):
        with pytest.raises(DataError, match=name):
            read_queries(tmp_path / name)


def test_answers_are_written_whole(trained: Trained, tmp_path: Path) -> None:
    answers = recommend_queries(trained.workspace, single_queries([ANN], []), limit=2)
    answers.write(tmp_path / "deep" / "lists.parquet")
    assert pl.read_parquet(tmp_path / "deep" / "lists.parquet").equals(answers.frame())
