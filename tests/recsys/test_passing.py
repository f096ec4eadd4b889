"""A filter that next to nothing passes, over more texts than a search reads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from recsys.answer import Query
from recsys.candidates import SOURCE_NAMES, Candidates
from recsys.catalogue import Catalogue
from recsys.code_lists import CodeLists
from recsys.config import PlacementConfig
from recsys.encoder import UserTower
from recsys.index import VectorIndex, dequantise
from recsys.moment import Moment, Parts
from recsys.passing import joined
from recsys.pipeline import Pipeline
from recsys.product_lists import ProductLists, learned_codebooks
from recsys.schema import BRAND, ITEM_ID, TITLE
from tests.recsys.small_catalogue import (
    NOW,
    events_frame,
    items_frame,
    small_config,
    small_parts,
    small_ranker,
    state_of,
)
from tests.recsys.small_pipeline import small_pipeline
from tests.recsys.test_code_lists import DIMENSION
from tests.recsys.test_code_lists import VECTORS as MORE

NUM_ITEMS, EVERY = 4_000, 100
VECTORS = MORE[:NUM_ITEMS]
CATALOGUE = Catalogue(
    items_frame(
        *(
            {ITEM_ID: f"{i:04}", TITLE: f"{i:04}", BRAND: "few" if i % EVERY == 7 else "many"}
            for i in range(NUM_ITEMS)
        )
    )
)
LOG = [
    (f"user-{i % 9}", f"{(i % 9) * 400 + i % 5:04}", "purchase", NOW - 1 - i * 3_600_000) for i in range(90)
]
SMALL = small_config()
CONFIG = SMALL.model_copy(
    update={
        "encoder": SMALL.encoder.model_copy(update={"dimension": DIMENSION}),
        "candidates": SMALL.candidates.model_copy(update={"text": 10, "popular": 0, "similar": 10}),
        "placements": {
            "home": PlacementConfig(sources=("text",)),
            "similar_items": PlacementConfig(sources=("similar_text",), starts_from="context"),
        },
    }
)


FEW = np.arange(7, NUM_ITEMS, EVERY)
EXACT_FEW = CodeLists.exact(VECTORS[:600])


@pytest.fixture(scope="module")
def parts() -> Parts:
    """Parts whose vectors lie in one list."""
    torch.manual_seed(1)
    tower, log = UserTower(DIMENSION).eval(), events_frame(LOG)
    return small_parts(dequantise(VECTORS), tower, CATALOGUE, log, CONFIG)


@pytest.fixture(scope="module")
def clustered() -> CodeLists:
    """The vectors in many lists."""
    return CodeLists.exact(VECTORS).clustered()


def as_they_are(lists: CodeLists) -> CodeLists:
    return lists


def with_product_codes(lists: CodeLists) -> CodeLists:
    return ProductLists.of(lists, learned_codebooks(EXACT_FEW.in_lists(lists.centroids)))


@dataclass(frozen=True)
class NoFeatures:
    """Nothing is known of any item."""

    names: tuple[str, ...] = ("one",)

    @property
    def words(self) -> Mapping[str, str]:
        return {"one": "why not"}

    def matrix(self, _: Moment, positions: np.ndarray) -> np.ndarray:
        return np.ones((len(positions), 1), np.float32)


def pipeline(parts: Parts) -> Pipeline:
    return small_pipeline(parts, LOG, {"all": small_ranker(("one",))}, NoFeatures())


def asked(user: int = 0, **options: object) -> Query:
    mine = [event for event in LOG if event[0] == f"user-{user}"]
    given: dict[str, object] = {"as_of_ms": NOW, "user": state_of(mine, CONFIG), "limit": 10} | options
    return Query(**given)  # type: ignore[arg-type]  # keywords of the caller


def nearest_few(vector: np.ndarray, num: int, among: np.ndarray = FEW) -> set[int]:
    products = VECTORS[among].astype(np.float32) @ np.rint(127 * vector)
    return set(among[np.argsort(-products, kind="stable")[:num]].tolist())


@pytest.mark.parametrize("kind", [as_they_are, with_product_codes])
def test_a_page_of_what_one_in_a_hundred_passes_is_full_of_the_nearest_of_it(
    parts: Parts, clustered: CodeLists, kind: Callable[[CodeLists], CodeLists]
) -> None:
    index = VectorIndex(kind(clustered), CATALOGUE)
    large, shares = pipeline(replace(parts, index=index, words=index)), []
    for query in (asked(user, filter="brand = few") for user in range(9)):
        answer = large.recommend(query)
        found = CATALOGUE.positions([item.item_id for item in answer.items]).tolist()
        assert len(found) == 10
        assert set(found) <= set(FEW.tolist())
        assert all("text" in item.sources for item in answer.items)
        shares.append(len(nearest_few(large.moment(query).user_vector, 10) & set(found)) / 10)
    assert np.mean(shares) >= 0.98


def test_what_is_excluded_or_cannot_be_sold_takes_no_place(parts: Parts, clustered: CodeLists) -> None:
    index = VectorIndex(clustered, CATALOGUE)
    large = pipeline(replace(parts, index=index, words=index))
    first = large.recommend(asked(filter="brand = few"))
    gone = frozenset(item.item_id for item in first.items)
    after = large.recommend(asked(filter="brand = few", exclude_item_ids=gone))
    assert len(after.items) == 10
    assert not gone & {item.item_id for item in after.items}
    beside = asked(filter="brand = few", placement="similar_items", context_item_ids=("0107",))
    found = {item.item_id for item in large.recommend(beside).items}
    centre = index.of_items(np.asarray([107]))[0]
    assert found == {f"{i:04}" for i in nearest_few(centre, 10, FEW[FEW != 107])}


def test_where_every_text_is_read_a_filter_is_answered_as_ever(parts: Parts) -> None:
    small = pipeline(parts)
    offered = small.gather(asked()).candidates
    answer = small.recommend(asked(filter="brand = few"))
    near = set(FEW.tolist()) & set(offered.positions.tolist())
    later = {item.item_id for item in answer.items} - {f"{i:04}" for i in near}
    assert len(answer.items) == 10
    assert all(item.sources == ("popular",) for item in answer.items if item.item_id in later)


def test_joined_candidates_have_the_sources_of_both_and_the_better_score() -> None:
    text, popular = (np.uint32(1 << SOURCE_NAMES.index(name)) for name in ("text", "popular"))
    one = Candidates(np.asarray([2, 5]), np.asarray([text, text]), np.asarray([0.1, 0.3]))
    other = Candidates(np.asarray([1, 5]), np.asarray([popular, popular]), np.asarray([0.2, 0.2]))
    found = joined(one, other)
    assert found.positions.tolist() == [1, 2, 5]
    assert found.sources.tolist() == [popular, text, text | popular]
    assert found.score.tolist() == [0.2, 0.1, 0.3]


def test_texts_that_came_later_are_among_the_nearest_of_some_items() -> None:
    frame = CATALOGUE.frame[:2_000]
    first = VectorIndex(CodeLists.exact(VECTORS[:2_000]).clustered(), Catalogue(frame))
    grown = first.extended(VECTORS[2_000:], CATALOGUE)
    vector = dequantise(VECTORS[3_007])
    found = grown.nearest_of(vector / np.linalg.norm(vector), 10, np.zeros(NUM_ITEMS), FEW)
    assert set(found.tolist()) == nearest_few(vector / np.linalg.norm(vector), 10)
    assert found[0] == 3_007
