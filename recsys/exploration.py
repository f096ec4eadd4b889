"""New items on some places of a list, drawn at random with known probabilities, so that they can be judged.

Each slot is decided for itself, first to last: with probability ``share`` it gets a new item, drawn uniformly
from what is left of the pool, the best-ranked new candidates; what stood there moves down by one. The
*propensity* of a place is the probability of its item given the places above: ``share / pool left`` for a
drawn item, ``1 - share`` where a slot kept its own, 1 everywhere else.
"""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from jaxtyping import Bool, Int64

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
) -> Explored:
    """Draw for every slot.

    Args:
        rows: Candidate rows, best first.
        is_new: Whether each candidate is a new item.
        config: Slots, share and size of the pool.
        seed: Equal seeds draw equally.
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
        row = pool.pop(int(choice * len(pool)))
        propensity[row] = config.share / (len(pool) + 1)
        ordered.remove(row)
        ordered.insert(slot, row)
        drawn.append(row)
    return Explored(np.asarray(ordered, np.int64), np.asarray(drawn, np.int64), propensity)
