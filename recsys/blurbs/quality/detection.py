"""Whether the gate tells a shop's true texts from false ones made of them, by kind and with intervals."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from recsys.blurbs.entry import Entry
from recsys.blurbs.facts import Facts
from recsys.blurbs.judging import TextGate
from recsys.blurbs.quality.corruption import KINDS, Corruptor

_RESAMPLES = 500
_SEED = 7

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Detection:
    """The gate on one kind of false text."""

    kind: str
    num_texts: int
    stopped: float
    """Share of the false texts that do not pass, in [0, 1]."""
    stopped_low: float
    """Clopper and Pearson's bounds at 95 %."""
    stopped_high: float
    auroc: float
    """How likely a true text scores above a false one, ties counting half, in [0, 1]."""
    auroc_low: float
    """Bounds at 95 %, bootstrapped over items; equal to the estimate where no pair is ever the wrong way."""
    auroc_high: float


def detection(entries: Sequence[Entry], checks: TextGate, corruptor: Corruptor) -> list[Detection]:
    """Judge true texts, and false ones made of them; only texts that the gate passes now are taken as true.

    Args:
        entries: Approved texts.
        checks: The gate.
        corruptor: Of the shop.
    """
    draw = random.Random(_SEED)
    pairs: dict[str, list[tuple[float, float, bool]]] = defaultdict(list)
    for entry in entries:
        facts, language = Facts.from_canonical(entry.request.facts), entry.request.slot.language
        true = checks.check(facts, entry.text, language)
        if not true.passed:
            continue
        for kind, text in corruptor.corrupt(entry.text, facts, language, draw).items():
            false = checks.check(facts, text, language)
            pairs[kind].append((true.score, false.score, not false.passed))
    return [_measured(kind, pairs[kind]) for kind in KINDS if pairs[kind]]


def _measured(kind: str, pairs: list[tuple[float, float, bool]]) -> Detection:
    true, false, stopped = (np.array(side, dtype=np.float64) for side in zip(*pairs, strict=True))
    low, high = share_bounds(int(stopped.sum()), len(pairs))
    area, area_low, area_high = auroc(true, false)
    return Detection(kind, len(pairs), float(stopped.mean()), low, high, area, area_low, area_high)


def auroc(true: Scores, false: Scores) -> tuple[float, float, float]:
    """Area under the curve with its bounds; one true and one false score per item.

    Source: Mann and Whitney (1947); items are resampled together with their false text.
    """
    wins = (true[:, None] > false[None, :]) + 0.5 * (true[:, None] == false[None, :])
    size = len(true)
    drawn = np.random.default_rng(_SEED).multinomial(size, np.full(size, 1 / size), _RESAMPLES) / size
    areas = np.einsum("ri,ij,rj->r", drawn, wins, drawn, optimize=True)
    low, high = np.quantile(areas, (0.025, 0.975))
    return float(wins.mean()), float(low), min(1.0, float(high))  # rounding may lead beyond


def share_bounds(number: int, total: int) -> tuple[float, float]:
    """Bounds of a share at 95 %. Source: Clopper and Pearson, Biometrika 26 (1934)."""
    low = float(beta.ppf(0.025, number, total - number + 1)) if number else 0.0
    high = float(beta.ppf(0.975, number + 1, total - number)) if number < total else 1.0
    return low, high
