import numpy as np

from recsys.blurbs.segment_choice import SegmentChoice
from recsys.live_parts import TextVectors

WORDS = np.zeros(2, np.int8)


def test_a_shopper_gets_the_segment_that_the_interest_leans_to_compared_with_nobody() -> None:
    lines = {"garden": "gardens", "kitchen": "cooks"}
    vectors = {
        "gardens": TextVectors(np.asarray([127, 0], np.int8), WORDS),
        "cooks": TextVectors(np.asarray([100, 78], np.int8), WORDS),
    }
    choice = SegmentChoice.of(lines, vectors, nobody=np.asarray([0.9, 0.1], np.float32))
    assert np.allclose(np.linalg.norm(choice.vectors, axis=1), 1)
    assert choice.nearest(np.asarray([1, 0], np.float32)) == "garden"
    assert choice.nearest(np.asarray([0.8, 0.6], np.float32)) == "kitchen"  # nearer to garden, but leans here
    assert choice.nearest(np.asarray([0.1, 0], np.float32)) == ""


def test_without_segments_there_is_none() -> None:
    nobody = np.zeros(2, np.float32)
    assert SegmentChoice.of({}, {}, nobody).nearest(np.ones(2, np.float32)) == ""
