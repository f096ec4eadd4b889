"""From similarity to probability."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64


@dataclass(frozen=True)
class Calibration:
    """Turns a similarity into a probability: ``sigmoid(slope * similarity + intercept)``.

    Source: Platt, "Probabilistic outputs for support vector machines", 1999, equation 1 (with the signs of
        both turned).
    """

    slope: float
    intercept: float
    fitted_until_ms: int
    """No event at or after this was seen; milliseconds since the epoch."""

    def probability(self, similarity: Float[np.ndarray, " items"]) -> Float64[np.ndarray, " items"]:
        """Probability that the user engages with each item, in (0, 1)."""
        return 1 / (1 + np.exp(-(self.slope * similarity.astype(np.float64) + self.intercept)))
