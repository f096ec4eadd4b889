"""What every candidate source and the pipeline promise, whatever they compute."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from features.registry import OnlineFeatures, fingerprint
from recsys.answer import Query, RankedList
from recsys.bundle import Bundle, load_bundle
from recsys.candidates import SOURCES, gather
from recsys.config import CandidateConfig
from recsys.item_state import ItemState
from recsys.moment import Moment
from recsys.pipeline import Pipeline
from recsys.search import Sought
from tests.recsys.small_catalogue import (
    NOW,
    Event,
    events_frame,
    greengrocer,
    greengrocer_encoder,
    moment_of,
    shopping,
    small_config,
    state_of,
    write_shop_bundle,
)

CATALOGUE = greengrocer()
LOG = shopping(CATALOGUE)
USERS = sorted({user_id for user_id, *_ in LOG})[:6]
CONTEXT = ("carrot", "cherry")
UNKNOWN: list[Event] = [("user-0", f"gone-{i}", "purchase", NOW - 1 - i) for i in range(50)]
WORDS = "red apple"
LIMIT_OF_SOURCE = {
    "similar_text": "similar",
    "similar_co_occurrence": "similar",
    "similar_following": "similar",
    "query_words": "query",
    "query_text": "query",
}
PLACEMENTS = ("home", "similar_items")

every_source = pytest.mark.parametrize("name", sorted(SOURCES))
every_placement = pytest.mark.parametrize("placement", PLACEMENTS)


@dataclass(frozen=True)
class Shop:
    """A bundle, written and loaded, and a way to build a fresh pipeline from its directory."""

    directory: Path
    bundle: Bundle

    def pipeline(self) -> Pipeline:
        config = self.bundle.manifest.config
        bundle = load_bundle(self.directory, fingerprint(config.state))
        items = ItemState.from_events(CATALOGUE, config.state, events_frame(LOG), NOW)
        return Pipeline(bundle, items, OnlineFeatures(config.state))

    def moment(self, user_id: str, more: tuple[Event, ...] = ()) -> Moment:
        plain = moment_of(self.bundle.parts, [*LOG, *more], user_id)
        assert self.bundle.queries is not None
        vector = self.bundle.queries.vector(WORDS)
        return replace(plain, sought=Sought(WORDS, vector, CATALOGUE, self.bundle.parts.words))

    def query(self, user_id: str, more: tuple[Event, ...] = (), **options: object) -> Query:
        events = [event for event in (*LOG, *more) if event[0] == user_id]
        state = state_of(events, self.bundle.manifest.config)
        given: dict[str, object] = {"as_of_ms": NOW, "user": state, "limit": 1_000} | options
        if given.get("placement") == "similar_items":
            given = {"context_item_ids": CONTEXT} | given
        return Query(**given)  # type: ignore[arg-type]  # keywords of the caller


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    root: Path = tmp_path_factory.mktemp("shop")
    config = small_config(greengrocer_encoder(root / "encoder"))
    write_shop_bundle(root / "v1", config, CATALOGUE, events_frame(LOG))
    return Shop(root / "v1", load_bundle(root / "v1"))


@pytest.fixture(scope="module")
def pipeline(shop: Shop) -> Pipeline:
    return shop.pipeline()


def offer(
    name: str, moment: Moment, context: tuple[str, ...] = CONTEXT, config: CandidateConfig | None = None
) -> list[int]:
    positions = SOURCES[name](moment, config or moment.parts.config.candidates, CATALOGUE.positions(context))
    assert positions.dtype == np.int64
    found: list[int] = positions.tolist()
    return found


def ids(answer: RankedList) -> list[str]:
    return [item.item_id for item in answer.items]


def exactly(answer: RankedList) -> str:
    """Everything an answer says, to the last digit; as text, because a value that is not there is NaN."""
    return repr(answer)


def limited(name: str, limit: int) -> CandidateConfig:
    """A configuration in which a source offers ``limit`` items, even where a file may not say 0."""
    return CandidateConfig().model_copy(update={LIMIT_OF_SOURCE.get(name, name): limit})


@every_source
def test_a_source_offers_the_same_again(shop: Shop, name: str) -> None:
    for user_id in USERS:
        assert offer(name, shop.moment(user_id)) == offer(name, shop.moment(user_id))


@every_source
def test_a_source_offers_items_of_the_catalogue_once(shop: Shop, name: str) -> None:
    offered = [offer(name, shop.moment(user_id)) for user_id in USERS]
    assert any(offered)
    for positions in offered:
        assert len(set(positions)) == len(positions)
        assert set(positions) <= set(range(len(CATALOGUE)))


@every_source
@pytest.mark.parametrize("limit", [0, 1, 2, 10_000])
def test_a_source_keeps_to_its_limit_and_offers_its_best(shop: Shop, name: str, limit: int) -> None:
    moment = shop.moment("user-3")
    offered = offer(name, moment, config=limited(name, limit))
    assert len(offered) <= min(limit, len(CATALOGUE))
    if not name.endswith("text"):  # of equal texts, a longer list may show more
        assert offered == offer(name, moment, config=limited(name, 10_000))[:limit]


@every_source
def test_a_source_has_no_trouble_with_an_empty_history_or_context(shop: Shop, name: str) -> None:
    nobody = shop.moment("nobody")
    assert set(offer(name, nobody)) <= set(range(len(CATALOGUE)))
    found = offer(name, nobody, ())
    assert not (name.startswith("similar") and found)


@every_source
def test_a_source_ignores_unknown_items_of_a_history(shop: Shop, name: str) -> None:
    plain, strange = shop.moment("user-0"), shop.moment("user-0", tuple(UNKNOWN))
    assert offer(name, plain) == offer(name, strange)


@every_source
def test_a_source_looks_only_at_what_was_there_before_the_moment(shop: Shop, name: str) -> None:
    future = tuple(("user-0", item_id, "purchase", NOW + i) for i, item_id in enumerate(CATALOGUE.item_ids))
    assert offer(name, shop.moment("user-0")) == offer(name, shop.moment("user-0", future))


def test_merging_keeps_every_offer_once_whatever_the_order_of_the_sources(shop: Shop) -> None:
    moment, context = shop.moment("user-1"), CATALOGUE.positions(CONTEXT)
    names = tuple(SOURCES)
    config = moment.parts.config.candidates
    found, turned = gather(moment, names, config, context), gather(moment, names[::-1], config, context)
    everything = {position for name in names for position in offer(name, moment)}
    assert found.positions.tolist() == sorted(everything)
    assert turned.positions.tolist() == found.positions.tolist()
    assert turned.sources.tolist() == found.sources.tolist()
    np.testing.assert_allclose(turned.score, found.score, rtol=1e-12)


@every_placement
def test_the_pipeline_answers_the_same_again_and_after_others(
    shop: Shop, pipeline: Pipeline, placement: str
) -> None:
    alone = {
        user_id: shop.pipeline().recommend(shop.query(user_id, placement=placement)) for user_id in USERS[:2]
    }
    for _ in range(2):
        for user_id in USERS:
            answer = pipeline.recommend(shop.query(user_id, placement=placement))
            assert answer == alone.get(user_id, answer)


@every_placement
def test_many_at_once_get_what_each_gets_alone(shop: Shop, pipeline: Pipeline, placement: str) -> None:
    queries = [shop.query(user_id, placement=placement, explain=True) for user_id in USERS]
    alone = [exactly(pipeline.recommend(query)) for query in queries]
    with ThreadPoolExecutor(4) as threads:
        assert [exactly(answer) for answer in threads.map(shop.pipeline().recommend, queries)] == alone


@every_placement
def test_the_pipeline_answers_with_distinct_sellable_items(
    shop: Shop, pipeline: Pipeline, placement: str
) -> None:
    for user_id in (*USERS, "nobody"):
        found = ids(pipeline.recommend(shop.query(user_id, placement=placement)))
        assert found
        assert len(set(found)) == len(found)
        assert set(found) <= set(CATALOGUE.item_ids) - {"zucchini"}


@every_placement
@pytest.mark.parametrize("limit", [0, 1, 10_000])
def test_the_pipeline_keeps_to_the_limit(shop: Shop, pipeline: Pipeline, placement: str, limit: int) -> None:
    for user_id in ("user-0", "nobody"):
        found = ids(pipeline.recommend(shop.query(user_id, placement=placement, limit=limit)))
        everything = ids(pipeline.recommend(shop.query(user_id, placement=placement)))
        assert found == everything[:limit]


@every_placement
def test_scores_fall_along_the_list(shop: Shop, pipeline: Pipeline, placement: str) -> None:
    scores = [item.score for item in pipeline.recommend(shop.query("user-2", placement=placement)).items]
    assert scores == sorted(scores, reverse=True)
    assert np.isfinite(scores).all()


@every_placement
def test_excluded_and_context_items_never_come_back(shop: Shop, pipeline: Pipeline, placement: str) -> None:
    everything = ids(pipeline.recommend(shop.query("user-0", placement=placement)))
    left_out = frozenset(everything[:2]) | {"gone"}
    answer = pipeline.recommend(
        shop.query("user-0", placement=placement, context_item_ids=CONTEXT, exclude_item_ids=left_out)
    )
    assert not (left_out | set(CONTEXT)) & set(ids(answer))
    nobody = pipeline.recommend(shop.query("nobody", placement=placement, exclude_item_ids=left_out))
    assert not left_out & set(ids(nobody))


@every_placement
def test_novel_answers_hold_nothing_that_the_user_had(shop: Shop, pipeline: Pipeline, placement: str) -> None:
    for user_id in USERS:
        had = {item_id for who, item_id, *_ in LOG if who == user_id}
        answer = pipeline.recommend(shop.query(user_id, placement=placement, novel=True))
        assert not had & set(ids(answer))


@every_placement
def test_unknown_items_change_nothing_but_what_is_reported(
    shop: Shop, pipeline: Pipeline, placement: str
) -> None:
    context = {"similar_items": CONTEXT, "home": ()}[placement]
    plain = pipeline.recommend(shop.query("user-0", placement=placement, context_item_ids=context))
    strange = pipeline.recommend(
        shop.query("user-0", placement=placement, context_item_ids=(*context, "gone"))
    )
    assert strange.missing_item_ids == ("gone",)
    assert strange.items == plain.items


@every_placement
def test_an_unknown_item_in_the_history_does_not_stop_a_list(
    shop: Shop, pipeline: Pipeline, placement: str
) -> None:
    stranger = tuple(("stranger", item_id, name, time_ms) for _, item_id, name, time_ms in UNKNOWN)
    nobody = pipeline.recommend(shop.query("nobody", placement=placement))
    assert pipeline.recommend(shop.query("stranger", stranger, placement=placement)).items == nobody.items


def test_ranking_does_not_depend_on_the_order_of_the_items(shop: Shop, pipeline: Pipeline) -> None:
    query = shop.query("user-4", explain=True)
    forwards = pipeline.rank(query, CATALOGUE.item_ids)
    assert exactly(pipeline.rank(query, CATALOGUE.item_ids[::-1])) == exactly(forwards)
    assert sorted(ids(forwards)) == CATALOGUE.item_ids


@pytest.mark.parametrize("wanted", [[], ["gone"], ["leek"], ["leek", "leek"]])
def test_ranking_short_lists_is_no_trouble(shop: Shop, pipeline: Pipeline, wanted: list[str]) -> None:
    answer = pipeline.rank(shop.query("user-4"), wanted)
    assert ids(answer) == sorted(set(wanted) & {"leek"})
    assert answer.missing_item_ids == tuple(item_id for item_id in wanted if item_id == "gone")


@pytest.mark.parametrize(
    "ask",
    [
        lambda pipeline, query: pipeline.recommend(query),
        lambda pipeline, query: pipeline.rank(query, CATALOGUE.item_ids),
    ],
    ids=["recommend", "rank"],
)
def test_a_bundle_that_was_saved_and_loaded_answers_the_same(
    shop: Shop, ask: Callable[[Pipeline, Query], RankedList]
) -> None:
    config = shop.bundle.manifest.config
    items = ItemState.from_events(CATALOGUE, config.state, events_frame(LOG), NOW)
    before = Pipeline(shop.bundle, items, OnlineFeatures(config.state))
    for user_id in (*USERS, "nobody"):
        query = shop.query(user_id, explain=True)
        assert exactly(ask(shop.pipeline(), query)) == exactly(ask(before, query))
