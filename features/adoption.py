"""Adoption: how fast the item wins users who never had it.

Inputs: the bundle's adoption table. Available online.
"""

import numpy as np
from jaxtyping import Float64, Int64

from features.definition import Feature, days
from recsys.config import StateConfig
from recsys.moment import Moment

_WORDS = "many people try it for the first time"


def features(config: StateConfig) -> tuple[Feature, ...]:
    """The family's features, in column order."""
    return tuple(
        Feature(f"adoption_{days(h)}", f"users who had it for the first time, half-life {h:g} days", _WORDS)
        for h in config.half_lives_days
    )


def online(moment: Moment, positions: Int64[np.ndarray, " items"]) -> Float64[np.ndarray, "items features"]:
    """The family for one moment and many items."""
    return moment.parts.adoption.rates[:, positions].T.astype(np.float64)
