import numpy as np
import pytest

from recsys.candidates import (
    QUERY_SOURCES,
    SOURCE_NAMES,
    SOURCES,
    Candidates,
    gather,
    merge,
    source_names,
)
from recsys.config import CandidateConfig
from recsys.moment import Moment
from recsys.schema import DAY_MS
from tests.recsys.small_catalogue import (
    NOW,
    Event,
    greengrocer,
    moment_of,
    parts_without_encoder,
    small_config,
)

CATALOGUE = greengrocer()
CONFIG = small_config()
NO_CONTEXT = np.empty(0, np.int64)


def together(user_id: str, items: list[str], *ages: float) -> list[Event]:
    """Baskets of the same items at these ages in days."""
    return [(user_id, item_id, "purchase", NOW - round(age * DAY_MS)) for age in ages for item_id in items]


LOG = [
    *together("ann", ["banana"], 1, 2, 3),
    *together("ann", ["cherry"], 1),
    *together("bob", ["carrot", "radish"], 1, 2, 3, 4),
    *together("bob", ["carrot", "turnip"], 5, 6, 7),
    *together("eve", ["apple-1"], 1),
]


def moment(*own_events: tuple[str, str, float]) -> Moment:
    """Ann's moment, or that of a user with other events of (item, type, age in days)."""
    events = [("new", item, name, NOW - round(age * DAY_MS)) for item, name, age in own_events]
    everything: list[Event] = [*LOG, *events]
    return moment_of(parts_without_encoder(LOG, CONFIG), everything, "new" if events else "ann")


def offered(name: str, when: Moment, *context: str, config: CandidateConfig = CONFIG.candidates) -> list[str]:
    positions = SOURCES[name](when, config, CATALOGUE.positions(context))
    return [CATALOGUE.item_ids[i] for i in positions]


def test_own_items_come_by_their_engagement() -> None:
    assert offered("own", moment()) == ["banana", "cherry"]
    assert offered("own", moment(("leek", "view", 1), ("kale", "purchase", 90))) == ["kale", "leek"]


def test_what_the_user_dislikes_is_not_own() -> None:
    assert offered("own", moment(("leek", "dislike", 1), ("kale", "view", 1))) == ["kale"]


def test_text_offers_the_nearest_items_to_the_interest_vector() -> None:
    when = moment()
    index, catalogue = when.parts.index, when.parts.catalogue
    similarity = index.of_items(np.arange(len(catalogue))) @ (np.rint(when.user_vector * 127) / 127)
    found = offered("text", when, config=CandidateConfig(text=3))
    best = np.argsort(-similarity, kind="stable")
    distinct = [i for i in best if catalogue.item_ids[i] != "apple-2"]  # nobody wants it beside its twin
    assert found == [catalogue.item_ids[i] for i in distinct[:3]]


def test_co_occurrence_offers_what_goes_with_the_recent_items() -> None:
    assert offered("co_occurrence", moment(("radish", "purchase", 1))) == ["carrot"]
    # carrot is in 7 baskets, with radish in 4 and with turnip in 3
    assert offered("co_occurrence", moment(("carrot", "purchase", 1))) == ["radish", "turnip"]


def test_following_offers_what_people_take_next() -> None:
    # bob went from turnips, with carrots, to radishes, with carrots
    assert offered("following", moment(("turnip", "purchase", 1))) == ["carrot", "radish"]
    assert offered("following", moment(("turnip", "purchase", 2), ("carrot", "view", 1)))[0] == "radish"


def test_ease_offers_what_predicts_from_the_whole_history() -> None:
    assert offered("ease", moment(("radish", "purchase", 90))) == [
        "carrot",
        "turnip",
    ]  # bob's, by root of sum
    assert offered("ease", moment(("apple-1", "purchase", 1))) == []


def test_taste_offers_what_wins_new_users_in_the_users_categories() -> None:
    # one user each found the fruit: the apple and the cherry a day ago, the banana three days ago
    assert offered("taste", moment(("apple-2", "view", 1))) == ["apple-1", "cherry", "banana"]
    assert offered("taste", moment(("apple-1", "view", 1))) == ["cherry", "banana"]


def test_words_offer_the_nearest_items_in_the_pretrained_space() -> None:
    when = moment(("cherry", "purchase", 1))
    vectors = when.parts.words.of_items(np.arange(len(CATALOGUE)))
    best = np.argsort(-(vectors @ vectors[CATALOGUE.position["cherry"]]), kind="stable")
    distinct = [CATALOGUE.item_ids[i] for i in best if CATALOGUE.item_ids[i] != "apple-2"]
    found = offered("words", when, config=CandidateConfig(words=3))
    assert found[0] == "cherry"
    assert found == distinct[:3]


def test_sources_of_new_items_offer_none_of_the_users_own() -> None:
    for user_id in ("ann", "bob", "eve"):
        when = moment_of(moment().parts, LOG, user_id)
        for name in ("co_occurrence", "following", "ease", "als", "taste"):
            positions = SOURCES[name](when, CONFIG.candidates, NO_CONTEXT)
            assert not set(positions.tolist()) & set(when.user.positions.tolist())


def test_popular_items_are_the_same_for_everybody() -> None:
    favourites = ["carrot", "radish", "banana", "turnip", "cherry", "apple-1"]
    ann = moment()
    bob = moment_of(ann.parts, LOG, "bob")
    assert offered("popular", bob) == offered("popular", ann)
    assert sorted(offered("popular", ann)) == sorted(favourites)
    assert offered("popular", ann)[:2] == ["carrot", "radish"]


def test_equally_popular_items_come_by_id() -> None:
    assert offered("popular", moment())[-2:] == ["apple-1", "cherry"]


def test_trending_offers_the_users_categories_only() -> None:
    assert offered("trending", moment()) == ["banana", "apple-1", "cherry"]
    assert set(offered("trending", moment(("beet", "view", 3)))) == {"beet", "carrot", "radish", "turnip"}


def test_adopted_items_win_most_users_however_often_they_come_back() -> None:
    events: list[Event] = [(f"user-{i}", "leek", "purchase", NOW - 20 * DAY_MS) for i in range(4)]
    parts = parts_without_encoder([*LOG, *events], CONFIG)
    found = offered("adopted", moment_of(parts, LOG, "ann"), config=CandidateConfig(adopted=2))
    assert found == ["leek", "apple-1"]  # ties by id: one user a day ago, as cherry has


def test_a_user_without_history_gets_nothing_personal() -> None:
    nobody = moment_of(moment().parts, LOG, "nobody")
    for name in ("own", "co_occurrence", "following", "ease", "als", "taste", "words", "trending"):
        assert offered(name, nobody) == []
    assert offered("popular", nobody)


def test_similar_items_do_not_include_the_context() -> None:
    for name in ("similar_text", "similar_co_occurrence"):
        found = offered(name, moment(), "carrot", "radish")
        assert found
        assert not {"carrot", "radish"} & set(found)
    assert offered("similar_co_occurrence", moment(), "radish", "turnip") == ["carrot"]
    assert offered("similar_text", moment()) == offered("similar_co_occurrence", moment()) == []


def test_the_twin_of_a_context_item_is_the_most_similar_text() -> None:
    assert offered("similar_text", moment(), "apple-2")[0] == "apple-1"


def test_merged_scores_are_reciprocal_ranks() -> None:
    found = merge({"own": np.asarray([7, 3]), "popular": np.asarray([3, 9, 7])})
    assert found.positions.tolist() == [3, 7, 9]
    assert found.score.tolist() == pytest.approx([1 / 62 + 1 / 61, 1 / 61 + 1 / 63, 1 / 62])
    assert [source_names(int(bits)) for bits in found.sources] == [
        ("own", "popular"),
        ("own", "popular"),
        ("popular",),
    ]


@pytest.mark.parametrize("offers", [{}, {"own": NO_CONTEXT}])
def test_no_offers_merge_to_nothing(offers: dict[str, np.ndarray]) -> None:
    found = merge(offers)
    assert len(found.positions) == len(found.sources) == len(found.score) == 0


def test_every_source_fits_the_bits_and_has_its_own() -> None:
    assert len(SOURCE_NAMES) <= 32
    assert [source_names(1 << i) for i in range(len(SOURCE_NAMES))] == [(name,) for name in SOURCE_NAMES]
    assert source_names(0) == ()


def test_gathering_asks_the_named_sources() -> None:
    when = moment()
    found: Candidates = gather(when, ("own", "trending"), CONFIG.candidates, NO_CONTEXT)
    by_item = {
        CATALOGUE.item_ids[position]: source_names(int(bits))
        for position, bits in zip(found.positions, found.sources, strict=True)
    }
    assert by_item == {
        "apple-1": ("trending",),
        "banana": ("own", "trending"),
        "cherry": ("own", "trending"),
    }


def test_rising_items_are_taken_more_of_late_than_before() -> None:
    steady = [(f"s{day}", "carrot", "purchase", NOW - day * DAY_MS - 1) for day in range(0, 400, 4)]
    fresh = [(f"f{i}", "leek", "purchase", NOW - (i + 1) * DAY_MS) for i in range(5)]
    former = [(f"o{i}", "kale", "purchase", NOW - (90 + i) * DAY_MS) for i in range(20)]
    log = sorted([*steady, *fresh, *former], key=lambda event: event[3])
    when = moment_of(moment().parts, log, "nobody")
    found = [CATALOGUE.item_ids[i] for i in SOURCES["rising"](when, CONFIG.candidates, NO_CONTEXT)]
    assert found[0] == "leek"
    assert "kale" not in found
    engagement = when.popularity.engagement[:, CATALOGUE.position["leek"]]
    half_lives = CONFIG.state.half_lives_days
    expected = engagement[-1] * half_lives[1] / half_lives[-1]
    assert engagement[1] > expected  # so its surplus is above 0


def test_recent_items_come_newest_first_and_once() -> None:
    seen = moment(("leek", "view", 3), ("kale", "purchase", 2), ("leek", "click", 1))
    assert offered("recent", seen) == ["leek", "kale"]
    assert offered("recent", seen, config=CandidateConfig(recent=1)) == ["leek"]
    assert set(offered("recent", moment())) == {"banana", "cherry"}


def test_without_a_query_the_query_sources_offer_nothing() -> None:
    assert [offered(name, moment(("leek", "view", 1))) for name in QUERY_SOURCES] == [[], []]
