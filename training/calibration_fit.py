"""Fits the interest probability on retrieved texts that the encoder was not trained on."""

import numpy as np
from jaxtyping import Bool, Float64
from scipy.optimize import minimize
from scipy.special import expit

from recsys.calibration import Calibration


def fit_calibration(
    similarity: Float64[np.ndarray, " pairs"], engaged: Bool[np.ndarray, " pairs"], fitted_until_ms: int
) -> Calibration:
    """Slope and intercept with the least binary cross-entropy.

    Args:
        similarity: Inner product of interest and item vector per pair.
        engaged: Whether the user engaged with the item.
        fitted_until_ms: End of the data the pairs come from.

    Source: Platt, "Probabilistic outputs for support vector machines", 1999; without its smoothed targets.
    """
    sign = np.where(engaged, 1.0, -1.0)

    def loss(parameters: Float64[np.ndarray, " two"]) -> tuple[float, Float64[np.ndarray, " two"]]:
        margin = sign * (parameters[0] * similarity + parameters[1])
        pull = -sign * expit(-margin)
        return float(np.logaddexp(0, -margin).mean()), np.array([(pull * similarity).mean(), pull.mean()])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B")
    return Calibration(float(found.x[0]), float(found.x[1]), fitted_until_ms)
