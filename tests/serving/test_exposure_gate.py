"""Tests of the gate that compares what two models show."""

from collections import Counter
from pathlib import Path

import pytest

from recsys.promotion import promote
from recsys.registry import Registry
from serving.exposure_gate import Exposure, compare, exposure
from tests.serving.small_models import FIRST, SECOND, two_models

SHOWN = Counter({f"item-{number}": 10 for number in range(100)})
SELLERS = Counter({"honest": 900, "small": 100})


def test_the_same_exposure_passes() -> None:
    gate = compare(Exposure(SHOWN, SELLERS), Exposure(SHOWN, SELLERS), "old")
    assert gate.passed
    assert (gate.figures["coverage"], gate.figures["overlap"]) == (1, 1)


@pytest.mark.parametrize(
    "new",
    [
        Exposure(SHOWN, Counter({"honest": 690, "small": 310})),
        Exposure(SHOWN, Counter({"honest": 960, "nobody knew": 40})),
        Exposure(Counter(dict.fromkeys(list(SHOWN)[:79], 10)), SELLERS),
        Exposure(Counter({f"item-{number}": 10 for number in range(51, 151)}), SELLERS),
    ],
)
def test_a_seller_who_grows_threefold_fewer_items_and_other_items_are_refused(new: Exposure) -> None:
    assert len(compare(new, Exposure(SHOWN, SELLERS), "old").reasons) == 1


def test_a_model_of_other_items_is_refused_unless_the_gate_is_left_out(tmp_path: Path) -> None:
    workspace = two_models(tmp_path)
    assert exposure(workspace, FIRST, FIRST).passed
    decided = promote(workspace, SECOND, ["exposure"])
    assert decided.verdict == "refused"
    assert Registry(workspace.registry).pointers().stable == FIRST
    assert promote(workspace, SECOND, []).verdict == "promoted"
