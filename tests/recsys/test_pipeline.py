from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from recsys.answer import Query, RankedList, RuleStep, ServiceLevel
from recsys.candidates import source_names
from recsys.config import Config, ExplorationConfig, PlacementConfig, RepeatConfig, SamplingConfig
from recsys.errors import ConfigError
from recsys.moment import Moment
from recsys.pipeline import Pipeline
from recsys.ranker import Ranker
from recsys.rules import Boost, Exclude, Pin, Rule
from recsys.schema import DAY_MS, EVENT_TYPE_CODES
from tests.recsys.small_catalogue import (
    NOW,
    Event,
    greengrocer,
    parts_without_encoder,
    shopping,
    small_config,
    small_ranker,
    state_of,
)
from tests.recsys.small_pipeline import small_pipeline

CATALOGUE = greengrocer()
LOG = shopping(CATALOGUE)
CONFIG = small_config().model_copy(
    update={
        "placements": Config().placements
        | {"fresh": PlacementConfig(sources=("own", "popular"), bought="leave_out_touched")}
    }
)
PARTS = parts_without_encoder(LOG, CONFIG)


@dataclass(frozen=True)
class SmallFeatures:
    """The user's engagement with the item, everybody's, and a constant; two of them with the same words."""

    names: tuple[str, ...] = ("own", "popular", "one")

    @property
    def words(self) -> Mapping[str, str]:
        return {"own": "you like it", "popular": "many like it", "one": "many like it"}

    def matrix(self, moment: Moment, positions: np.ndarray) -> np.ndarray:
        own = np.zeros(len(CATALOGUE))
        own[moment.user.positions] = moment.user.engagement[:, 1]
        popular = moment.popularity.engagement[1]
        columns = (own[positions], popular[positions], np.ones(len(positions)))
        return np.column_stack(columns).astype(np.float32)


FEATURES = SmallFeatures()
RANKER = small_ranker(FEATURES.names, num_trees=20)
OTHERS = {
    name: small_ranker(FEATURES.names, seed, num_trees=20) for seed, name in enumerate(("new", "shown"), 1)
}


def pipeline(
    others: Mapping[str, Ranker] | None = None, features: SmallFeatures = FEATURES, config: Config = CONFIG
) -> Pipeline:
    """A pipeline whose bundle has the ranker for everything, and others for what they are named after."""
    return small_pipeline(PARTS, LOG, {"all": RANKER, **(others or {})}, features, config)


PIPELINE = pipeline()


def query(user_id: str = "user-0", **options: object) -> Query:
    events = [event for event in LOG if event[0] == user_id]
    given: dict[str, object] = {"as_of_ms": NOW, "user": state_of(events, CONFIG), "limit": 100} | options
    return Query(**given)  # type: ignore[arg-type]  # keywords of the caller


def had(user_id: str = "user-0") -> set[str]:
    return {item_id for who, item_id, _, _ in LOG if who == user_id}


def ids(answer: RankedList) -> list[str]:
    return [item.item_id for item in answer.items]


def test_items_come_by_the_rankers_score_ties_by_id() -> None:
    answer = PIPELINE.recommend(query())
    positions = CATALOGUE.positions(sorted(ids(answer)))
    expected = RANKER.scores(FEATURES.matrix(PIPELINE.moment(query()), positions))
    order = np.argsort(-expected, kind="stable")
    assert ids(answer) == [CATALOGUE.item_ids[i] for i in positions[order]]
    assert [item.score for item in answer.items] == expected[order].tolist()
    assert answer.service_level is ServiceLevel.FULL
    assert (answer.model_version, answer.degraded_reasons) == ("v1", ())


def test_every_item_says_which_sources_offered_it() -> None:
    sources = {item.item_id: item.sources for item in PIPELINE.recommend(query()).items}
    for item_id in had():
        assert "own" in sources[item_id]
    assert all(sources.values())


def test_a_shorter_list_is_the_start_of_the_longer_one() -> None:
    everything = PIPELINE.recommend(query())
    for limit in (0, 1, 3):
        assert PIPELINE.recommend(query(limit=limit)).items == everything.items[:limit]
    assert everything.num_candidates >= len(everything.items) > 3


@pytest.mark.parametrize("changed", [{"novel": True}, {"limit": 3}, {"explain": True}])
def test_what_was_gathered_once_serves_every_way_of_ordering_it(changed: dict[str, Any]) -> None:
    gathered = PIPELINE.gather(query())
    asked = replace(query(), **changed)
    assert PIPELINE.order(gathered, asked) == PIPELINE.recommend(asked)


def test_the_users_interest_comes_along_and_changes_nothing() -> None:
    asked = replace(query(), with_interest=True)
    for plain, withal in (
        (PIPELINE.recommend(query()), PIPELINE.recommend(asked)),
        (PIPELINE.rank(query(), sorted(had())), PIPELINE.rank(asked, sorted(had()))),
    ):
        assert withal == plain
        assert plain.interest is None
        assert withal.interest is not None
        assert np.linalg.norm(withal.interest) == pytest.approx(1, abs=1e-5)
    assert PIPELINE.recommend(replace(asked, user=None)).interest is None


def test_a_filter_never_changes_another_items_score() -> None:
    everything = PIPELINE.recommend(query()).items
    left_out = {everything[0].item_id, everything[2].item_id}
    answer = PIPELINE.recommend(query(exclude_item_ids=frozenset(left_out)))
    assert answer.items == tuple(item for item in everything if item.item_id not in left_out)


def test_only_what_matches_the_filter_comes_back_by_the_same_scores() -> None:
    everything = PIPELINE.recommend(query(limit=3))
    farm = [item for item in PIPELINE.recommend(query()).items if brand_of(item.item_id) == "Farm"]
    answer = PIPELINE.recommend(query(filter="brand = Farm", limit=3))
    assert answer.items == tuple(farm[:3])
    assert everything.items != answer.items


def test_a_filter_that_leaves_few_candidates_still_fills_the_page() -> None:
    placements = {"home": PlacementConfig(sources=("own",))}
    own = pipeline(config=CONFIG.model_copy(update={"placements": placements}))
    asked = query(filter="NOT brand:*", limit=2)
    assert not {i.item_id for i in own.recommend(query()).items} & {"basket", "radish"} - had()
    assert set(ids(own.recommend(asked))) == {"basket", "radish"}
    assert ids(own.recommend(query(filter="brand = nobody"))) == []
    assert "zucchini" not in ids(own.recommend(query(filter="title:green")))


def brand_of(item_id: str) -> object:
    [row] = PIPELINE.items([item_id])
    return row["brand"]


def test_what_cannot_be_sold_never_comes_back() -> None:
    events: list[Event] = [("u", "zucchini", "purchase", NOW - DAY_MS), ("u", "leek", "purchase", NOW - 1)]
    found = ids(PIPELINE.recommend(query(user=state_of(events, CONFIG))))
    assert "leek" in found
    assert "zucchini" not in found


def test_novel_lists_leave_out_what_the_user_had() -> None:
    assert had() & set(ids(PIPELINE.recommend(query())))
    assert not had() & set(ids(PIPELINE.recommend(query(novel=True))))
    assert not had() & set(ids(PIPELINE.recommend(query(placement="fresh"))))


@pytest.mark.parametrize(
    "user", [None, state_of([], CONFIG), state_of([("u", "gone", "purchase", NOW - 1)], CONFIG)]
)
def test_a_user_nobody_knows_is_ranked_by_what_is_known_of_the_items(user: object) -> None:
    answer = PIPELINE.recommend(query(user=user))
    assert answer.service_level is ServiceLevel.FULL
    assert answer.degraded_reasons == ("unknown_user",)
    moment = PIPELINE.moment(query(user=user))
    expected = RANKER.scores(FEATURES.matrix(moment, CATALOGUE.positions(ids(answer))))
    assert [item.score for item in answer.items] == expected.tolist() == sorted(expected, reverse=True)
    assert {item_id for _, item_id, _, _ in LOG} <= set(ids(answer))
    assert PIPELINE.rank(query(user=user), ids(answer)).degraded_reasons == ("unknown_user",)


def scored_by(ranker: Ranker, answer: RankedList, asked: Query) -> bool:
    matrix = FEATURES.matrix(PIPELINE.moment(asked), CATALOGUE.positions(ids(answer)))
    return np.array_equal([item.score for item in answer.items], ranker.scores(matrix))


@pytest.mark.parametrize(("novel", "placement"), [(True, "home"), (False, "fresh")])
def test_a_list_of_new_items_is_ranked_by_the_ranker_for_them(novel: bool, placement: str) -> None:
    asked = query(limit=5, novel=novel, placement=placement)
    mine = pipeline(OTHERS)
    assert scored_by(OTHERS["new"], mine.recommend(asked), asked)
    assert not scored_by(RANKER, mine.recommend(asked), asked)
    assert scored_by(RANKER, PIPELINE.recommend(asked), asked)  # which has no other
    assert scored_by(RANKER, mine.recommend(query()), query())


def test_the_callers_list_is_ranked_by_the_ranker_for_what_is_shown() -> None:
    mine, wanted = pipeline(OTHERS), CATALOGUE.item_ids
    assert scored_by(OTHERS["shown"], mine.rank(query(), wanted), query())
    assert not scored_by(RANKER, mine.rank(query(), wanted), query())
    assert scored_by(RANKER, PIPELINE.rank(query(), wanted), query())
    assert scored_by(RANKER, pipeline({"new": OTHERS["new"]}).rank(query(), wanted), query())


class PlaceInList(SmallFeatures):
    """The same, but popularity is the share of the list that is less popular."""

    def matrix(self, moment: Moment, positions: np.ndarray) -> np.ndarray:
        found = super().matrix(moment, positions)
        popular = found[:, 1]
        found[:, 1] = 9 * (popular[:, None] > popular).mean(1)
        return found


def test_a_short_list_of_the_callers_is_scored_as_among_the_candidates() -> None:
    mine = pipeline(features=PlaceInList())
    scores = {item.item_id: item.score for item in mine.recommend(query()).items}
    wanted = ids(mine.recommend(query(user=None)))[1:4]
    ranked = mine.rank(query(), wanted)
    assert {item.item_id: item.score for item in ranked.items} == {i: scores[i] for i in wanted}
    learned_from_lists = pipeline({"shown": RANKER}, PlaceInList()).rank(query(), wanted)
    alone = PlaceInList().matrix(mine.moment(query()), CATALOGUE.positions(ids(learned_from_lists)))
    assert [item.score for item in learned_from_lists.items] == RANKER.scores(alone).tolist()
    assert [i.score for i in learned_from_lists.items] != [i.score for i in ranked.items]


def test_an_explanation_is_the_chosen_rankers() -> None:
    answer = pipeline(OTHERS).recommend(query(novel=True, explain=True, limit=3))
    for item in answer.items:
        assert item.explanation is not None
        total = item.explanation.base_value + sum(p.contribution for p in item.explanation.contributions)
        assert total == pytest.approx(item.score)


def test_similar_items_need_no_user_and_leave_out_the_context() -> None:
    answer = PIPELINE.recommend(
        query(user=None, placement="similar_items", context_item_ids=("carrot", "gone"))
    )
    assert answer.service_level is ServiceLevel.FULL
    assert answer.missing_item_ids == ("gone",)
    assert ids(answer)
    assert "carrot" not in ids(answer)
    assert {name for item in answer.items for name in item.sources} <= {
        "similar_text",
        "similar_co_occurrence",
    }


@pytest.mark.parametrize("context", [(), ("gone",)])
def test_without_a_known_context_similar_items_are_the_popular_ones(context: tuple[str, ...]) -> None:
    answer = PIPELINE.recommend(query(placement="similar_items", context_item_ids=context))
    assert answer.service_level is ServiceLevel.POPULAR
    assert answer.degraded_reasons == ("unknown_context",)
    assert answer.missing_item_ids == context
    assert ids(answer)


def test_the_cart_does_not_come_back_at_home() -> None:
    cart = tuple(had())[:2]
    assert not set(cart) & set(ids(PIPELINE.recommend(query(context_item_ids=cart))))


def test_a_placement_that_is_not_configured_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"no placement 'checkout'.*cart, fresh, home"):
        PIPELINE.recommend(query(placement="checkout"))


def test_explanations_add_up_and_reasons_are_their_words_once() -> None:
    answer = PIPELINE.recommend(query(explain=True, limit=5))
    assert answer.items
    for item in answer.items:
        assert item.explanation is not None
        parts = item.explanation.contributions
        assert item.explanation.base_value + sum(p.contribution for p in parts) == pytest.approx(item.score)
        assert tuple(part.feature for part in parts) == FEATURES.names
        assert parts[2].value == 1.0
        raised = sorted((p for p in parts if p.contribution > 0), key=lambda part: -part.contribution)
        assert item.reasons == tuple(dict.fromkeys(FEATURES.words[part.feature] for part in raised))
    plain = PIPELINE.recommend(query(limit=5))
    assert [item.explanation for item in plain.items] == [None] * 5
    assert ids(plain) == ids(answer)


def test_an_empty_list_is_explained_too() -> None:
    assert PIPELINE.recommend(query(explain=True, limit=0)).items == ()
    assert PIPELINE.rank(query(explain=True), []).items == ()


def test_ranking_orders_the_callers_items_and_reports_the_unknown_ones() -> None:
    wanted = ["leek", "gone", "banana", "zucchini", "leek"]
    answer = PIPELINE.rank(query(limit=1), wanted)
    assert sorted(ids(answer)) == ["banana", "leek", "zucchini"]
    assert answer.missing_item_ids == ("gone",)
    scores = [item.score for item in answer.items]
    assert scores == sorted(scores, reverse=True)


def test_ranking_scores_as_recommending_does() -> None:
    recommended = PIPELINE.recommend(query())
    ranked = PIPELINE.rank(query(), ids(recommended)[::-1])
    assert [(i.item_id, i.score) for i in ranked.items] == [(i.item_id, i.score) for i in recommended.items]


def test_what_is_recorded_counts_from_the_next_tick() -> None:
    mine = pipeline()
    for i in range(200):
        mine.record("basket", EVENT_TYPE_CODES["purchase"], NOW + i)
    mine.record("gone", EVENT_TYPE_CODES["purchase"], NOW)
    later_ms = NOW + round(CONFIG.state.tick.total_seconds() * 1000)
    plain, now, later = (
        which.moment(query(as_of_ms=as_of_ms)).popularity.engagement[0, CATALOGUE.position["basket"]]
        for which, as_of_ms in ((PIPELINE, NOW), (mine, NOW), (mine, later_ms))
    )
    assert plain == now
    assert later - now == pytest.approx(200, rel=0.01)


def test_catalogue_rows_come_in_the_order_asked_for() -> None:
    rows = PIPELINE.items(["leek", "gone", "apple-1"])
    assert [row["title"] for row in rows] == ["green leek", "red apple"]
    assert PIPELINE.knows_item("leek")
    assert not PIPELINE.knows_item("gone")


def test_a_log_that_ended_long_ago_still_fills_the_page() -> None:
    years_later = NOW + 100 * 365 * DAY_MS
    mine = pipeline()  # its clock moves on
    answer = mine.recommend(query(user=None, as_of_ms=years_later, limit=5))
    assert len(answer.items) == 5
    assert answer.degraded_reasons == ("unknown_user",)


@pytest.mark.parametrize("limit", [3, len(CATALOGUE)])
def test_where_no_source_has_anything_the_page_is_what_is_popular(limit: int) -> None:
    everything_bought = [("u", item_id, "purchase", NOW - 1) for item_id in {i for _, i, _, _ in LOG}]
    asked = query(user=state_of(everything_bought, CONFIG), placement="fresh", limit=limit)
    answer = PIPELINE.recommend(asked)
    assert answer.service_level is ServiceLevel.POPULAR
    assert answer.degraded_reasons == ("no_candidates",)
    left = set(CATALOGUE.item_ids) - {item_id for _, item_id, _, _ in everything_bought} - {"zucchini"}
    assert set(ids(answer)) <= left
    assert len(answer.items) == min(limit, len(left))


def test_ranking_reports_context_items_that_are_unknown() -> None:
    answer = PIPELINE.rank(query(context_item_ids=("gone",)), ["leek"])
    assert answer.missing_item_ids == ("gone",)


@pytest.mark.parametrize("placement", ["home", "similar_items"])
def test_what_follows_an_answer_is_the_rest_of_the_longer_one(placement: str) -> None:
    asked = query(placement=placement)  # similar items of nothing are the popular ones
    whole = PIPELINE.recommend(replace(asked, limit=100))
    page = PIPELINE.recommend(replace(asked, limit=2, depth=5))
    assert page.rest is not None
    assert (whole.rest, ids(page)) == (None, ids(whole)[:2])
    assert list(page.rest.item_ids) == ids(whole)[2:5]
    assert page.rest.scores.tolist() == [item.score for item in whole.items[2:5]]
    assert [source_names(bits) for bits in page.rest.sources.tolist()] == [
        i.sources for i in whole.items[2:5]
    ]
    assert PIPELINE.recommend(replace(asked, limit=100, depth=5)).rest is None


def test_what_can_be_sold_is_known_and_available() -> None:
    assert PIPELINE.sellable([]).tolist() == []
    assert PIPELINE.sellable(["leek", "no such item"]).tolist() == [True, False]


def with_home(**changes: Any) -> Pipeline:
    """A pipeline whose home page is configured otherwise."""
    home = CONFIG.placements["home"].model_copy(update=changes)
    return pipeline(config=CONFIG.model_copy(update={"placements": CONFIG.placements | {"home": home}}))


def ruled(*rules: Rule) -> Pipeline:
    mine = pipeline()
    mine.use_rules(rules)
    return mine


def farm(action: type[Boost | Exclude], **more: Any) -> Rule:
    given = {"name": "farm", "action": action.__name__.lower(), "filter": "brand = Farm"} | more
    return action.model_validate(given)


def pin(item_id: str, position: int, **more: Any) -> Pin:
    return Pin.model_validate(
        {"name": "pin", "action": "pin", "item_id": item_id, "position": position} | more
    )


def test_without_rules_nothing_says_that_it_was_moved() -> None:
    answer = PIPELINE.recommend(query())
    assert {item.rule_steps for item in answer.items} == {()}
    assert {item.propensity for item in answer.items} == {1.0}
    assert ruled().recommend(query()) == answer


@pytest.mark.parametrize("placement", sorted(Config().placements))
def test_every_placement_answers_somebody_and_nobody(placement: str) -> None:
    asked = query(placement=placement, context_item_ids=("carrot",), query="red apple", limit=4)
    mine, nobodys = PIPELINE.recommend(asked), PIPELINE.recommend(replace(asked, user=None))
    assert mine.items
    assert len(set(ids(mine))) == len(mine.items)
    assert bool(nobodys.items) == (placement not in {"buy_it_again", "recently_viewed"})
    assert PIPELINE.recommend(replace(asked, limit=2)).items == mine.items[:2]


def test_recently_viewed_are_the_latest_items_in_the_order_they_were_seen() -> None:
    events: list[Event] = [("u", "leek", "view", NOW - 3), ("u", "kale", "click", NOW - 2)]
    seen = state_of([*events, ("u", "leek", "view", NOW - 1)], CONFIG)
    answer = PIPELINE.recommend(query(user=seen, placement="recently_viewed"))
    assert ids(answer) == ["leek", "kale"]
    assert (answer.service_level, answer.degraded_reasons) == (ServiceLevel.NO_RANKER, ())


def test_trending_is_the_same_for_everybody_and_in_retrieval_order() -> None:
    mine, nobodys = (
        PIPELINE.recommend(query(user=who, placement="trending")) for who in (query().user, None)
    )
    assert mine == nobodys
    assert mine.service_level is ServiceLevel.NO_PERSONAL
    scores = [item.score for item in mine.items]
    assert scores == sorted(scores, reverse=True)


def test_bought_policies_look_at_purchases_or_at_everything() -> None:
    events: list[Event] = [("u", "leek", "purchase", NOW - 2), ("u", "kale", "view", NOW - 1)]
    asked = query(user=state_of(events, CONFIG))
    expected = {
        "keep": {"leek", "kale"},
        "leave_out_purchased": {"kale"},
        "leave_out_touched": set(),
        "only_purchased": {"leek"},
        "only_touched": {"leek", "kale"},
    }
    for policy, theirs in expected.items():
        found = set(ids(with_home(bought=policy).recommend(asked)))
        assert found & {"leek", "kale"} == theirs
        assert bool(found - {"leek", "kale"}) == (not policy.startswith("only"))


def test_nobody_buys_anything_again() -> None:
    answer = PIPELINE.recommend(query(user=None, placement="buy_it_again"))
    assert (answer.items, answer.degraded_reasons) == ((), ("no_candidates",))


def test_a_search_finds_the_words_and_by_score_what_fits_equally_well() -> None:
    answer = PIPELINE.recommend(query(placement="search", query="red apple"))
    assert set(ids(answer)) == {"apple-1", "apple-2"}
    assert "query_by_words_only" in answer.degraded_reasons  # there is no encoder
    scores = [item.score for item in answer.items]
    assert scores == sorted(scores, reverse=True)
    assert "query_words" in answer.items[0].sources


def test_a_search_for_nonsense_shows_what_is_popular_and_says_so() -> None:
    answer = PIPELINE.recommend(query(placement="search", query="xqzzt", limit=3))
    assert len(answer.items) == 3
    assert (answer.service_level, answer.degraded_reasons) == (ServiceLevel.POPULAR, ("no_matches",))


def test_a_query_steers_other_lists_and_leaves_the_rest_as_it_was() -> None:
    everything, steered = PIPELINE.recommend(query()), PIPELINE.recommend(query(query="green leek"))
    assert ids(steered)[0] == "leek"
    rest = [item_id for item_id in ids(steered) if item_id != "leek"]
    assert rest == [item_id for item_id in ids(everything) if item_id != "leek"]


def test_boosts_move_items_and_say_from_where_to_where() -> None:
    before, after = ids(PIPELINE.recommend(query())), ruled(farm(Boost, factor=3)).recommend(query())
    moved = {item.item_id: item.rule_steps for item in after.items if item.rule_steps}
    assert moved
    for item_id, (step,) in moved.items():
        assert brand_of(item_id) == "Farm"
        assert step == RuleStep("farm", before.index(item_id), ids(after).index(item_id))
        assert step.to_position < before.index(item_id)
    assert sorted(before) == sorted(ids(after))


def test_rules_apply_in_their_time_and_to_their_requests_only() -> None:
    later = datetime.fromtimestamp(NOW / 1000 + 1, UTC)
    rules = [farm(Exclude, start=later), farm(Exclude, placements=["cart"], name="2")]
    rules.append(farm(Exclude, attributes={"country": "NL"}, name="3"))
    assert ruled(*rules).recommend(query()) == PIPELINE.recommend(query())
    abroad = ruled(*rules).recommend(query(attributes={"country": "NL"}))
    assert "Farm" not in {brand_of(item_id) for item_id in ids(abroad)}


def test_excluded_items_come_back_nowhere_not_even_where_nothing_else_is_found() -> None:
    mine = ruled(farm(Exclude))
    for asked in (
        query(),
        query(user=None),
        query(placement="search", query="xqzzt"),
        query(filter="title:red"),
    ):
        assert "Farm" not in {brand_of(item_id) for item_id in ids(mine.recommend(asked))}
    assert "apple-1" in ids(mine.rank(query(), ["apple-1"]))  # the caller's own list stays the caller's


def test_a_pinned_item_stands_on_its_place_with_its_own_score() -> None:
    asked = query(placement="similar_items", context_item_ids=("carrot",), limit=3)
    answer = ruled(pin("basket", 1)).recommend(asked)
    assert ids(answer)[1] == "basket"
    assert answer.items[1].rule_steps[-1].to_position == 1
    expected = RANKER.scores(FEATURES.matrix(PIPELINE.moment(asked), CATALOGUE.positions(["basket"])))
    assert answer.items[1].score == expected[0]
    others = [item_id for item_id in ids(answer) if item_id != "basket"]
    assert others == [i for i in ids(PIPELINE.recommend(asked)) if i != "basket"][:2]


@pytest.mark.parametrize(
    ("pinned", "asked"),
    [
        ("zucchini", {}),
        ("leek", {"exclude_item_ids": frozenset({"leek"})}),
        ("leek", {"context_item_ids": ("leek",)}),
        ("leek", {"filter": "brand = Farm"}),
        ("gone", {}),
    ],
)
def test_what_may_not_be_shown_is_not_pinned_either(pinned: str, asked: dict[str, Any]) -> None:
    assert pinned not in ids(ruled(pin(pinned, 0)).recommend(query(**asked)))


def test_a_pin_is_there_where_nothing_was_found_and_for_who_had_it() -> None:
    nothing = query(placement="search", query="xqzzt", limit=3)
    assert ids(ruled(pin("basket", 0)).recommend(nothing))[0] == "basket"
    mine = sorted(had())[0]
    assert ids(ruled(pin(mine, 0)).recommend(query(placement="fresh")))[0] == mine


def test_an_item_that_was_shown_in_vain_moves_down() -> None:
    first = ids(PIPELINE.recommend(query()))[0]
    events = [event for event in LOG if event[0] == "user-0"]
    shown: list[Event] = [("user-0", first, "impression", NOW - 30 + i) for i in range(3)]
    old = [event for event in events if event[3] < NOW - 7 * DAY_MS]  # what was bought of late is engagement
    asked = query(user=state_of([*old, *shown], CONFIG))
    without = ids(PIPELINE.recommend(asked))
    answer = with_home(repeats=RepeatConfig(times=3, factor=3)).recommend(asked)
    before, after = without.index(first), ids(answer).index(first)
    assert after == min(3 * (before + 1) - 1, len(without) - 1)
    assert answer.items[after].rule_steps == (RuleStep("shown_before", before, after),)


def test_diversity_reorders_and_0_leaves_alone() -> None:
    assert with_home(diversity=0.0).recommend(query()) == PIPELINE.recommend(query())
    answer = with_home(diversity=0.9).recommend(query())
    assert ids(answer) != ids(PIPELINE.recommend(query()))
    assert sorted(ids(answer)) == sorted(ids(PIPELINE.recommend(query())))
    assert ids(answer)[0] == ids(PIPELINE.recommend(query()))[0]


def test_exploration_repeats_for_one_moment_and_differs_between_shoppers() -> None:
    exploration = ExplorationConfig(share=0.5, slots=(0, 2), max_events=1e9)
    mine = with_home(exploration=exploration)
    lists = {tuple(ids(mine.recommend(query(subject=str(i))))) for i in range(20)}
    assert len(lists) > 3
    answer = mine.recommend(query(subject="1"))
    assert answer == mine.recommend(query(subject="1"))
    drawn = {item.item_id for item in answer.items if item.rule_steps}
    for place, item in enumerate(answer.items):
        assert (item.propensity < 1) == (place in exploration.slots)
        assert item.propensity == 0.5 or item.item_id in drawn or place not in exploration.slots


def test_drawn_lists_carry_the_probability_of_every_place() -> None:
    sampling = SamplingConfig(share=1.0, temperature=0.5, places=3, pool=5)
    mine = with_home(sampling=sampling)
    lists = {subject: mine.recommend(query(subject=str(subject))) for subject in range(20)}
    assert len({tuple(ids(answer)) for answer in lists.values()}) > 3
    best = PIPELINE.recommend(query()).items
    score = {item.item_id: item.score for item in best[:5]}
    for answer in lists.values():
        left = dict(score)
        for item in answer.items[:3]:
            total = sum(np.exp(value / 0.5) for value in left.values())
            assert item.propensity == pytest.approx(np.exp(left.pop(item.item_id) / 0.5) / total)
        assert all(item.propensity == 1 for item in answer.items[3:])
        assert ids(answer)[3:] == [i for i in (item.item_id for item in best) if i not in ids(answer)[:3]]
        assert answer.policy == "plackett_luce temperature=0.5 pool=5 places=3"
    assert lists[1] == mine.recommend(query(subject="1"))


def test_a_list_that_is_not_drawn_is_as_ever() -> None:
    mine = with_home(sampling=SamplingConfig(share=1e-9))
    assert mine.recommend(query()).items == PIPELINE.recommend(query()).items
    assert mine.recommend(query()).policy == ""


def test_a_query_may_bring_its_own_placement() -> None:
    home = PIPELINE.config.placements["home"]
    diverse = with_home(diversity=0.9)
    asked = query(parameters=home.model_copy(update={"diversity": 0.9}))
    assert PIPELINE.recommend(asked).items == diverse.recommend(query()).items


def test_what_follows_a_page_keeps_the_propensities_of_the_whole_list() -> None:
    mine = with_home(exploration=ExplorationConfig(share=0.5, slots=(0, 2), max_events=1e9))
    whole = mine.recommend(query(limit=4))
    page = mine.recommend(replace(query(limit=1), depth=4))
    assert page.rest is not None
    followed = [page.rest.propensity.get(row, 1.0) for row in range(len(page.rest.item_ids))]
    assert followed == [item.propensity for item in whole.items[1:]]
    assert 0 < min(followed) < 1
