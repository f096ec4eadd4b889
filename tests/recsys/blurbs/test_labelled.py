"""What the gate reaches on the unseen half of the labelled set, on which it was not tuned."""

from functools import cache

import pytest

from tests.recsys.blurbs.corruptions import KINDS
from tests.recsys.blurbs.measure_gate import LABELLED, TRUE, Judged, auroc, judged, share_passed

_LEAST_TRUE_PASSED = 0.85
_LEAST_STOPPED = 0.99
_LEAST_STOPPED_OF_A_KIND = 0.98
_LEAST_AUROC = 0.97


@cache
def _unseen() -> tuple[Judged, ...]:
    return tuple(judged("unseen"))


def _of(kind: str) -> list[Judged]:
    return [text for text in _unseen() if text.kind == kind]


def test_true_sentences_pass() -> None:
    assert share_passed(_of(TRUE)) >= _LEAST_TRUE_PASSED


def test_corruptions_are_stopped() -> None:
    assert 1 - share_passed(text for text in _unseen() if text.kind != TRUE) >= _LEAST_STOPPED


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_corruption_is_stopped_and_scored_below_the_truth(kind: str) -> None:
    scores, false = [text.verdict.score for text in _of(TRUE)], _of(kind)
    assert 1 - share_passed(false) >= _LEAST_STOPPED_OF_A_KIND
    assert auroc(scores, [text.verdict.score for text in false]) >= _LEAST_AUROC


def test_the_set_is_as_large_as_it_says() -> None:
    rows = (LABELLED / "texts.jsonl").read_text().splitlines()
    assert sum('"kind": "true"' in row for row in rows) >= 300
    assert len(rows) >= 300 * (1 + 5)
    assert {text.language for text in _unseen()} == {"en", "de", "zh"}
