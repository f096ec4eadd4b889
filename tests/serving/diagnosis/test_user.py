import json

import pytest

from recsys.answer import ServiceLevel
from recsys.errors import ConfigError, LeakageError
from recsys.workspace import Workspace
from serving.batch import recommend_queries, single_queries
from serving.diagnosis import UserDiagnosis, diagnose_user
from tests.conftest import Trained
from tests.serving.diagnosis.conftest import SOLD_OUT
from tests.tiny_shop import CUT_MS, NEW_ITEM

ANN = "coffee-user1"


def says(found: UserDiagnosis, words: str) -> bool:
    return any(words in finding for finding in found.findings)


def test_the_list_is_the_one_that_is_recommended(odd: Workspace) -> None:
    found = diagnose_user(odd, ANN, limit=6)
    [answer] = recommend_queries(odd, single_queries([ANN], []), limit=6, explain=True).lists
    assert [place.item_id for place in found.top] == [item.item_id for item in answer.items]
    assert [place.score for place in found.top] == [item.score for item in answer.items]
    assert [place.rank for place in found.top] == [1, 2, 3, 4, 5, 6]
    assert found.service_level == ServiceLevel.FULL
    first, explanation = found.top[0], answer.items[0].explanation
    assert explanation is not None
    strengths = [abs(c.contribution) for c in first.contributions]
    assert strengths == sorted((abs(c.contribution) for c in explanation.contributions), reverse=True)[:5]


def test_sources_and_filters_are_counted(odd: Workspace) -> None:
    found = diagnose_user(odd, ANN)
    counts = {count.source: count for count in found.sources}
    assert counts["own"].offered == found.num_read_items == found.history.num_items
    assert all(0 <= count.left <= count.offered <= found.num_candidates for count in found.sources)
    assert found.removed == {"unavailable": 1, "excluded": 0}
    assert found.num_left == found.num_candidates - 1
    assert SOLD_OUT not in {place.item_id for place in found.top}
    assert says(found, "candidates are taken out: unavailable")


def test_what_the_user_had_before_can_be_left_out(odd: Workspace) -> None:
    found = diagnose_user(odd, ANN, novel=True)
    assert found.removed["had_before"] == found.num_read_items
    assert not {place.item_id for place in found.top if "own" in place.sources}
    assert {count.source: count.left for count in found.sources}["own"] == 0


def test_an_unknown_user_gets_what_is_popular_and_is_told_so(odd: Workspace) -> None:
    found = diagnose_user(odd, "nobody")
    assert (found.history.num_events, found.num_read_items) == (0, 0)
    assert found.findings[0].startswith("No events")
    assert says(found, "These sources offer nothing: own")
    assert says(found, "popularity")
    assert found.degraded_reasons == ("unknown_user",)
    assert found.top


def test_items_that_the_catalogue_lacks_explain_an_empty_history(odd: Workspace) -> None:
    found = diagnose_user(odd, "mug-lover")
    assert found.history.events == {"purchase": 1, "view": 1}
    assert (found.history.num_unknown_items, found.num_read_items) == (1, 0)
    assert says(found, "All 1 items of the history are not, or no longer, in the catalogue")
    assert found.degraded_reasons == ("unknown_user",)


def test_events_without_a_weight_are_not_read(odd: Workspace) -> None:
    found = diagnose_user(odd, "watcher")
    assert (found.history.num_unweighted_events, found.num_read_items) == (2, 0)
    assert says(found, "types without a weight, which are not read: impression (2)")


def test_expired_events_are_not_read(odd: Workspace) -> None:
    found = diagnose_user(odd, "sleeper")
    assert (found.history.num_expired_rows, found.num_read_items) == (1, 0)
    assert says(found, "All 1 pairs of item and event type had their last event more than 400 days ago")


def test_a_history_of_which_only_a_part_is_read(odd: Workspace) -> None:
    found = diagnose_user(odd, "mixed")
    assert (found.history.num_items, found.num_read_items) == (3, 1)
    assert says(found, "1 events are of types without a weight")
    assert says(found, "1 of the history's 3 items")
    assert says(found, "1 of 4 pairs of item and event type")
    assert {count.source: count.offered for count in found.sources}["own"] == 1


def test_a_placement_can_start_from_an_item(odd: Workspace) -> None:
    found = diagnose_user(odd, ANN, placement="similar_items", context_item_ids=(NEW_ITEM, "unicorn"))
    assert found.missing_item_ids == ("unicorn",)
    assert [count.source for count in found.sources] == ["similar_text"]
    assert not {place.item_id for place in found.top} & {NEW_ITEM, "unicorn"}
    nothing = diagnose_user(odd, ANN, placement="similar_items")
    assert nothing.service_level == ServiceLevel.POPULAR
    assert says(nothing, "No source offers anything.")
    assert says(nothing, "popular items, the same for everybody (unknown_context)")


def test_a_diagnosis_is_json_all_the_way_down(odd: Workspace, trained: Trained) -> None:
    document = json.loads(diagnose_user(odd, ANN, limit=2).to_json())
    assert (document["user_id"], document["model_version"]) == (ANN, trained.version)
    assert document["service_level"] == "FULL"
    assert document["as_of"].endswith("+00:00")
    assert document["top"][0].keys() >= {"rank", "item_id", "title", "score", "sources", "contributions"}
    assert json.loads(diagnose_user(odd, "nobody").to_json())["history"]["last_event_time"] is None


def test_another_moment_is_another_diagnosis(later: Workspace) -> None:
    before, after = diagnose_user(later, ANN, at_ms=CUT_MS), diagnose_user(later, ANN)
    assert before.history.num_events < after.history.num_events
    assert before.as_of < after.as_of
    with pytest.raises(LeakageError, match="bundle"):
        diagnose_user(later, ANN, at_ms=CUT_MS - 30 * 86_400_000)


def test_an_unknown_placement_is_refused(odd: Workspace) -> None:
    with pytest.raises(ConfigError, match="'basement'"):
        diagnose_user(odd, ANN, placement="basement")
