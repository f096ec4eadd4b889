"""From similarity to probability, and how far such probabilities can be trusted."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64


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


@dataclass(frozen=True)
class ReliabilityBin:
    """Pairs with similar predicted probabilities."""

    predicted: float
    """Mean predicted probability."""
    observed: float
    """Share that engaged."""
    count: int
    """Number of pairs."""


@dataclass(frozen=True)
class Reliability:
    """Predicted probabilities against what happened, on data the calibration was not fitted on."""

    expected_calibration_error: float
    """Mean distance of predicted and observed over the bins, weighted by their counts; in [0, 1]."""
    bins: tuple[ReliabilityBin, ...]
    """By ascending predicted probability."""


def reliability(
    predicted: Float64[np.ndarray, " pairs"], engaged: Bool[np.ndarray, " pairs"], num_bins: int = 10
) -> Reliability:
    """Compare predictions with outcomes in bins of equal size.

    Args:
        predicted: Probability per pair.
        engaged: Outcome per pair.
        num_bins: Most bins; each holds as many pairs as the others, or one more.

    Source: Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015, on
        ECE. Deviation: the bins hold equally many pairs instead of being equally wide, for most
        probabilities of engagement are small.
    """
    parts = np.array_split(np.argsort(predicted, kind="stable"), min(num_bins, max(len(predicted), 1)))
    bins = tuple(
        ReliabilityBin(float(predicted[part].mean()), float(engaged[part].mean()), len(part))
        for part in parts
        if len(part)
    )
    error = sum(abs(b.predicted - b.observed) * b.count for b in bins) / max(len(predicted), 1)
    return Reliability(error, bins)
