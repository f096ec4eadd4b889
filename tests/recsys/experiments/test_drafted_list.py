from dataclasses import replace

import numpy as np
import pytest

from recsys.answer import RankedItem, RankedList, Remainder, ServiceLevel
from recsys.candidates import SOURCE_NAMES
from recsys.experiments.drafted_list import DraftPolicy, drafted_list


def ranked(model: str, items: str, score: float, rest: str = "") -> RankedList:
    return RankedList(
        tuple(RankedItem(item, score, (SOURCE_NAMES[1],)) for item in items),
        ServiceLevel.FULL,
        model,
        rest=Remainder(list(rest), np.full(len(rest), score), np.full(len(rest), 1 << 1, np.uint32))
        if rest
        else None,
    )


def test_a_drafted_list_holds_both_models_items_with_their_scores_and_teams() -> None:
    a, b = ranked("1", "uv", 1.0, "wx"), ranked("2", "xw", 2.0, "vu")
    found = drafted_list(a, b, experiment="new", seed="s", limit=2)
    policy = DraftPolicy.read(found.policy)
    assert policy is not None
    assert (policy.experiment, policy.model_a, policy.model_b) == ("new", "1", "2")
    assert sorted(policy.teams) == ["a", "b"]
    assert {item.item_id for item in found.items} == {"u", "x"}
    assert [item.score for item in found.items] == [1.0 if team == "a" else 2.0 for team in policy.teams]
    assert [item.propensity for item in found.items] == [0.5, 1.0]
    assert found.rest is not None
    assert sorted(found.rest.item_ids) == ["v", "w"]
    assert found.rest.sources.tolist() == [2, 2]
    assert found.rest.propensity == {0: 0.5}
    assert found.model_version == "1"


def test_what_the_first_model_does_not_know_is_not_drafted() -> None:
    a, b = ranked("1", "uv", 1.0), ranked("2", "zv", 2.0)
    found = drafted_list(a, b, experiment="new", seed="s", limit=2, knows=lambda item: item != "z")
    assert {item.item_id for item in found.items} == {"u", "v"}
    assert found.rest is None


def test_an_empty_list_leaves_the_other() -> None:
    full, empty = ranked("1", "uv", 1.0), ranked("2", "", 2.0)
    for a, b in ((full, empty), (empty, full)):
        assert len(drafted_list(a, b, experiment="new", seed="s", limit=2).items) == 2


@pytest.mark.parametrize("text", ["", "plackett_luce temperature=1 pool=5", "team_draft teams=ab"])
def test_another_policy_is_none_of_a_draft(text: str) -> None:
    assert DraftPolicy.read(text) is None
    for degraded in ((), ("b",), ("a", "b")):
        policy = DraftPolicy("k", "20240101-1", "stable-2", ("a", "b", "b"), degraded)
        assert DraftPolicy.read(policy.text) == policy


def test_a_draft_says_whose_list_was_not_whole() -> None:
    a, b = ranked("1", "uv", 1.0), replace(ranked("2", "wx", 2.0), service_level=ServiceLevel.NO_PERSONAL)
    policy = DraftPolicy.read(drafted_list(a, b, experiment="new", seed="s", limit=2).policy)
    assert policy is not None
    assert policy.degraded == ("b",)
