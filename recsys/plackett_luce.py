"""Lists drawn at random with known probabilities, so that other rankers can be judged by what came of them.

Plackett and Luce fill a list from the top: every place gets one of the items that are left, with a
probability proportional to ``exp(u)`` of its utility u, a score over a temperature. One Gumbel draw per item
does all places at once.
"""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from jaxtyping import Float64, Int64

from recsys.config import SamplingConfig


@dataclass(frozen=True, eq=False)
class Drawn:
    """The first places of a list."""

    order: Int64[np.ndarray, " places"]
    """Rows of the utilities, in the list's order."""
    propensities: Float64[np.ndarray, " places"]
    """Probability of each place's item given the places above; their product is that of all places."""


def draw(utilities: Float64[np.ndarray, " items"], num_places: int, random: np.random.Generator) -> Drawn:
    """Draw the first places of a list.

    Args:
        utilities: Of every item that may come there, divided by the temperature.
        num_places: How many places to draw.
        random: Where the randomness comes from.

    Source: Plackett (1975), Luce (1959); the Gumbel trick: Yellott (1977), Kool, van Hoof and Welling,
    "Stochastic Beams and Where to Find Them", ICML 2019, section 2.2.
    """
    keys = utilities + random.gumbel(size=len(utilities))
    order: Int64[np.ndarray, " items"] = np.argsort(-keys, kind="stable")
    return Drawn(order[:num_places], propensities(utilities[order], num_places))


def propensities(in_order: Float64[np.ndarray, " items"], num_places: int) -> Float64[np.ndarray, " places"]:
    """Probability of each place's item given the places above.

    >>> propensities(np.log([1.0, 2.0, 1.0]), 2).round(4).tolist()
    [0.25, 0.6667]

    Args:
        in_order: Utilities of all items, those of the first places in their order, then the others.
        num_places: How many places.
    """
    left = np.logaddexp.accumulate(in_order[::-1])[::-1]
    found: Float64[np.ndarray, " places"] = np.exp(in_order - left)[:num_places]
    return found


def sampling_random(config: SamplingConfig, seed: str) -> np.random.Generator | None:
    """The randomness of one request; ``None`` where the request is not among those that are drawn.

    Args:
        config: Says which share is drawn.
        seed: Equal seeds draw equally.
    """
    digest = blake2b(f"sampling {seed}".encode(), digest_size=16).digest()
    random = np.random.default_rng(int.from_bytes(digest))
    return random if random.random() < config.share else None
