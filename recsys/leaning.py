"""What a user leans to: learned from the lists that the user was shown, and what was chosen from them.

Every item that was shown says something: chosen more often than others choose it, the user leans to the
likes of it; passed over, away from them. A Gaussian process over the items, with one step of Newton's method
for the binomial likelihood, spreads this over items that are the same, share words or numbers, or read alike.

Source: Rasmussen and Williams, "Gaussian Processes for Machine Learning" (2006), section 3.4, algorithms 3.1
and 3.2, with one iteration from the mode's prior mean; several trials per item instead of one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from recsys.catalogue import Catalogue
from recsys.click_rates import ClickRates
from recsys.index import VectorIndex
from recsys.user_items import Shown

VARIANCES: Mapping[str, float] = {"same": 0.3, "words": 2.0, "text": 0.4, "near_text": 0.35, "numbers": 0.17}
"""Prior variance of each part of the leaning, in squared log odds."""
RATE_WEIGHT = 0.8
"""What the log odds of an item's click rate count beside the leaning."""
_OFFSET_VARIANCE = 4.0
_NEAR = 8.0
_NUMBERS_SCALE = 1.5
_ITERATIONS, _LONGEST_STEP, _SHORTEST_STEP = 12, 2.0, 1e-9


@dataclass(frozen=True, eq=False)
class Leaning:
    """How much more the user wants each item than others do, in log odds; 0 is neither more nor less."""

    parts: Mapping[str, Float64[np.ndarray, " items"]]
    """By what carries it, see ``VARIANCES``: the item itself, shared words, texts, close texts, numbers."""

    @property
    def total(self) -> Float64[np.ndarray, " items"]:
        """The sum of the parts."""
        found: Float64[np.ndarray, " items"] = np.sum(list(self.parts.values()), axis=0)
        return found


def log_odds(rates: ClickRates, positions: Int64[np.ndarray, " items"]) -> Float64[np.ndarray, " items"]:
    """Log odds of the items' click rates."""
    rate = rates.rate[positions]
    found: Float64[np.ndarray, " items"] = np.log(rate / (1 - rate))
    return found


def residuals(
    odds: Float64[np.ndarray, " items"], shown: Shown
) -> tuple[Float64[np.ndarray, " items"], Float64[np.ndarray, " items"]]:
    """What the user chose beyond what the items' rates let expect, and how sure that is.

    The user's own readiness to choose is an offset ``a`` on the log odds, with a normal prior of variance 4:
    it is where ``sum(impressions sigma(odds + a)) + a / 4 = sum(engaged)``.

    Args:
        odds: Log odds of the shown items' click rates.
        shown: What the user was shown and chose.

    Returns:
        With ``p = sigma(odds + a)``: ``engaged - impressions p`` and ``impressions p (1 - p)``.
    """
    offset = 0.0
    for _ in range(_ITERATIONS):
        chance = _sigma(odds + offset)
        excess = (shown.impressions * chance).sum() - shown.engaged.sum() + offset / _OFFSET_VARIANCE
        slope = (shown.impressions * chance * (1 - chance)).sum() + 1 / _OFFSET_VARIANCE
        step = min(max(float(excess / slope), -_LONGEST_STEP), _LONGEST_STEP)
        offset -= step
        if abs(step) < _SHORTEST_STEP:
            break
    chance = _sigma(odds + offset)
    return shown.engaged - shown.impressions * chance, shown.impressions * chance * (1 - chance)


def lean(
    shown: Shown,
    rates: ClickRates,
    wanted: Int64[np.ndarray, " items"],
    catalogue: Catalogue,
    words: VectorIndex,
) -> Leaning:
    """The leaning to some items, from what the user was shown.

    Args:
        shown: What the user was shown and chose; none is a leaning of 0.
        rates: Click rates of all items.
        wanted: Catalogue positions of the items.
        catalogue: The items, for their words and numbers.
        words: The pretrained encoder's vectors.
    """
    residual, weight = residuals(log_odds(rates, shown.positions), shown)
    root = np.sqrt(np.maximum(weight, np.finfo(np.float64).tiny))
    own = similarities(shown.positions, shown.positions, catalogue, words)
    covariance = sum((VARIANCES[name] * own[name] for name in VARIANCES), np.zeros((len(root), len(root))))
    system = np.eye(len(root)) + root[:, None] * covariance * root
    strength = root * np.linalg.solve(system, residual / root)
    near = spread(strength, shown.positions, wanted, catalogue, words)
    return Leaning({name: VARIANCES[name] * near[name] for name in VARIANCES})


def spread(
    strength: Float64[np.ndarray, " theirs"],
    theirs: Int64[np.ndarray, " theirs"],
    ours: Int64[np.ndarray, " ours"],
    catalogue: Catalogue,
    words: VectorIndex,
) -> dict[str, Float64[np.ndarray, " ours"]]:
    """``similarities(ours, theirs) @ strength`` by name; inner products are summed before they are taken."""
    shared, weights = catalogue.shared_words, strength.astype(np.float32)
    at_ours, at_theirs = words.centred(ours), words.centred(theirs)
    text = at_ours @ at_theirs.T
    found = {
        "same": (ours[:, None] == theirs).astype(np.float32) @ weights,
        "words": shared[ours] @ (shared[theirs].T @ strength),
        "text": text @ weights,
        "near_text": np.exp(np.float32(_NEAR) * (text - 1)) @ weights,
        "numbers": _alike_in_numbers(catalogue.numbers[ours], catalogue.numbers[theirs]) @ weights,
    }
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


def similarities(
    ours: Int64[np.ndarray, " ours"],
    theirs: Int64[np.ndarray, " theirs"],
    catalogue: Catalogue,
    words: VectorIndex,
) -> dict[str, Float32[np.ndarray, "ours theirs"]]:
    """How alike items are, at most 1, by the names of ``VARIANCES``.

    ``text`` is the cosine of the pretrained vectors less their mean over the catalogue, ``near_text`` is
    ``exp(8 (text - 1))``, and ``numbers`` is ``exp(-1.5 d)`` with ``d`` the mean squared difference.
    """
    text = words.centred(ours) @ words.centred(theirs).T
    shared = catalogue.shared_words
    return {
        "same": (ours[:, None] == theirs).astype(np.float32),
        "words": (shared[ours] @ shared[theirs].T).toarray().astype(np.float32),
        "text": text,
        "near_text": np.exp(np.float32(_NEAR) * (text - 1)),
        "numbers": _alike_in_numbers(catalogue.numbers[ours], catalogue.numbers[theirs]),
    }


def _alike_in_numbers(
    ours: Float64[np.ndarray, "ours numbers"], theirs: Float64[np.ndarray, "theirs numbers"]
) -> Float32[np.ndarray, "ours theirs"]:
    if not ours.shape[1]:
        return np.zeros((len(ours), len(theirs)), np.float32)
    squares = (ours**2).sum(1)[:, None] + (theirs**2).sum(1) - 2 * ours @ theirs.T
    alike: Float32[np.ndarray, "ours theirs"] = np.exp(
        (squares * (-_NUMBERS_SCALE / ours.shape[1])).astype(np.float32)
    )
    return alike


def _sigma(odds: Float64[np.ndarray, " items"]) -> Float64[np.ndarray, " items"]:
    chance: Float64[np.ndarray, " items"] = 1 / (1 + np.exp(-odds))
    return chance
