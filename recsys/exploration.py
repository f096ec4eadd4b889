"""New items on some places of a list, drawn at random with known probabilities, so that they can be judged.

Each slot is decided for itself, first to last: with probability ``share`` it gets a new item, drawn from what
is left of the pool, the best-ranked new candidates; what stood there moves down by one. The *propensity* of a
place is the probability of its item given the places above: ``share`` times that of the draw for a drawn
item, ``1 - share`` where a slot kept its own, 1 everywhere else.

A draw is uniform, or, with ``floor`` below 1, only that share of it is: the rest is proportional to the upper
bound of each item's click rate, as a bandit would have it. Nothing in the pool ever gets less than the floor.
"""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from jaxtyping import Bool, Float64, Int64

from recsys.click_rates import ClickRates
from recsys.config import ExplorationConfig


@dataclass(frozen=True, eq=False)
class Explored:
    """A list with new items in it."""

    rows: Int64[np.ndarray, " items"]
    drawn: Int64[np.ndarray, " drawn"]
    """The rows that were drawn."""
    propensity: dict[int, float]
    """By row, where it is not 1."""


def explored(
    rows: Int64[np.ndarray, " items"],
    is_new: Bool[np.ndarray, " candidates"],
    config: ExplorationConfig,
    seed: str,
    worth: Float64[np.ndarray, " candidates"] | None = None,
) -> Explored:
    """Draw for every slot.

    Args:
        rows: Candidate rows, best first.
        is_new: Whether each candidate is a new item.
        config: Slots, share and size of the pool.
        seed: Equal seeds draw equally.
        worth: What each candidate's draw is proportional to beside the floor, above 0; equal when absent.
    """
    below = rows[config.slots[-1] + 1 :]
    pool = below[is_new[below]][: config.pool].tolist()
    random = np.random.default_rng(int.from_bytes(blake2b(seed.encode(), digest_size=16).digest()))
    ordered, drawn, propensity = rows.tolist(), [], {}
    for slot in config.slots:
        chance, choice = random.random(2)
        if not pool or slot >= len(ordered):
            break
        if chance >= config.share:
            propensity[ordered[slot]] = 1.0 - config.share
            continue
        chances = _chances(pool, config.floor, worth)
        at = min(int(np.searchsorted(np.cumsum(chances), choice, "right")), len(pool) - 1)
        row = pool.pop(at)
        propensity[row] = config.share * float(chances[at])
        ordered.remove(row)
        ordered.insert(slot, row)
        drawn.append(row)
    return Explored(np.asarray(ordered, np.int64), np.asarray(drawn, np.int64), propensity)


def upper_rates(
    rates: ClickRates | None, positions: Int64[np.ndarray, " candidates"]
) -> Float64[np.ndarray, " candidates"] | None:
    """What click rates of candidates may well be: one standard error above what they seem to be.

    Args:
        rates: The items' rates; ``None`` where nothing was ever shown, and then nothing is known.
        positions: Catalogue positions of the candidates.
    """
    if rates is None:
        return None
    rate, shown = rates.rate[positions], rates.impressions[positions]
    upper: Float64[np.ndarray, " candidates"] = rate + np.sqrt(rate * (1 - rate) / (shown + 1))
    return upper


def _chances(
    pool: list[int], floor: float, worth: Float64[np.ndarray, " candidates"] | None
) -> Float64[np.ndarray, " pool"]:
    uniform = np.full(len(pool), 1 / len(pool))
    if worth is None or floor == 1:
        return uniform
    promising = worth[pool]
    chances: Float64[np.ndarray, " pool"] = floor * uniform + (1 - floor) * promising / promising.sum()
    return chances
