import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.category_order import CategoryOrder

NUM_CODES = 3
ITEMS = st.lists(
    st.tuples(st.integers(-1, NUM_CODES - 1), st.sampled_from([0.0, 1.0, 2.0, 3.0])), max_size=12
)


@given(
    items=ITEMS,
    liked=st.lists(st.sampled_from([0.0, 0.5, 2.0]), min_size=NUM_CODES, max_size=NUM_CODES),
    limit=st.integers(1, 5),
    left_out=st.sets(st.integers(0, 11)),
)
def test_the_strongest_are_those_of_the_whole_catalogue(
    items: list[tuple[int, float]], liked: list[float], limit: int, left_out: set[int]
) -> None:
    codes = np.asarray([code for code, _ in items], np.int32)
    scores = np.asarray([score for _, score in items], np.float64)
    leave_out = np.asarray(sorted(i for i in left_out if i < len(items)), np.int64)
    products = {
        i: score * liked[code]
        for i, (code, score) in enumerate(items)
        if code >= 0 and i not in left_out and score * liked[code] > 0
    }
    expected = sorted(products, key=lambda i: (-products[i], i))[:limit]
    order = CategoryOrder.of(codes, NUM_CODES, scores)
    weights = np.asarray([*liked, 9.0])  # what follows the last code is not read
    assert order.strongest(weights, limit, leave_out).tolist() == expected


def test_a_score_that_is_missing_is_no_score() -> None:
    order = CategoryOrder.of(np.asarray([0, 0], np.int32), 1, np.asarray([np.nan, 1.0]))
    assert order.strongest(np.ones(1), 5).tolist() == [1]
