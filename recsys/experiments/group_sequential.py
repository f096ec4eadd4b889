"""Inference for a few planned looks: alpha is spent over them, so that all together err with it.

The bounds come from the recursion of Armitage, McPherson and Rowe (1969): the density of a Brownian motion
that stayed within the bounds so far, on Gauss-Legendre nodes, carried from look to look.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

Spending = Literal["obrien_fleming", "pocock"]

_NUM_NODES = 128
_WIDEST = 9.0
"""Bounds above this are never crossed; about 2e-19 of probability lies beyond."""
_LEAST_P = 1e-16
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(_NUM_NODES)


def alpha_spent(fraction: float, alpha: float, spending: Spending) -> float:
    """Probability to have rejected a true null, at either side, until this share of the information.

    Args:
        fraction: Units so far over units planned, above 0 and at most 1.
        alpha: Two-sided false positive rate at the end.
        spending: ``obrien_fleming`` spends late, ``pocock`` evenly.

    Source: Lan, DeMets, "Discrete sequential boundaries for clinical trials", Biometrika 1983, alpha_1* and
    alpha_2*; the first for two sides of alpha / 2 each.
    """
    if spending == "pocock":
        return alpha * math.log1p((math.e - 1) * fraction)
    return float(4 * ndtr(ndtri(alpha / 4) / math.sqrt(fraction)))


@lru_cache(maxsize=4096)
def bounds(fractions: tuple[float, ...], alpha: float, spending: Spending) -> tuple[float, ...]:
    """Two-sided bounds on z, one per look.

    Args:
        fractions: Shares of the planned information at the looks, rising, above 0 and at most 1.
        alpha: Two-sided false positive rate of all looks together.
        spending: See ``alpha_spent``.

    Returns:
        At a look, |z| at or above its bound rejects. Within 1e-3 of published tables.
    """
    process, found, spent = _Surviving(), [], 0.0
    for fraction in fractions:
        until_now = alpha_spent(fraction, alpha, spending)
        bound = process.bound(fraction, until_now - spent)
        process = process.after(fraction, bound)
        found.append(bound)
        spent = until_now
    return tuple(found)


def crossing_probabilities(
    bounds: Sequence[float], fractions: Sequence[float], drift: float = 0.0
) -> list[float]:
    """Probability of every look to be the first where |z| reaches its bound.

    Args:
        bounds: One per look.
        fractions: Shares of the planned information.
        drift: Expected z at the planned end; 0 under the null.
    """
    process, found = _Surviving(drift), []
    for bound, fraction in zip(bounds, fractions, strict=True):
        found.append(process.crossing(fraction, bound))
        process = process.after(fraction, bound)
    return found


def p_value(z: float, fractions: tuple[float, ...], spending: Spending) -> float:
    """The smallest alpha whose bound at the last of these looks ``z`` reaches (repeated p-value).

    Source: Jennison, Turnbull, "Group Sequential Methods", 2000, section 9.4.
    """

    def beyond(log_alpha: float) -> float:
        return abs(z) - bounds(fractions, math.exp(log_alpha), spending)[-1]

    least, most = math.log(_LEAST_P), math.log(1 - 1e-9)
    if beyond(least) >= 0:
        return _LEAST_P
    if beyond(most) <= 0:
        return 1.0
    return math.exp(brentq(beyond, least, most, xtol=1e-7))


def needed_drift(fractions: tuple[float, ...], alpha: float, spending: Spending, power: float) -> float:
    """Expected z at the planned end with which some look rejects with probability ``power``."""
    limits = bounds(fractions, alpha, spending)

    def short(drift: float) -> float:
        return sum(crossing_probabilities(limits, fractions, drift)) - power

    return float(brentq(short, 0.0, 20.0, xtol=1e-8)) if power > alpha else 0.0


class _Surviving:
    """Density of the score at the last look, over paths that crossed no bound."""

    def __init__(
        self,
        drift: float = 0.0,
        fraction: float = 0.0,
        nodes: Float[np.ndarray, " nodes"] | None = None,
        mass: Float[np.ndarray, " nodes"] | None = None,
    ) -> None:
        self._drift = drift
        self._fraction = fraction
        self._nodes = np.zeros(1) if nodes is None else nodes
        self._mass = np.ones(1) if mass is None else mass

    def crossing(self, fraction: float, bound: float) -> float:
        """Probability to cross at the next look, having survived."""
        step = math.sqrt(fraction - self._fraction)
        reach = bound * math.sqrt(fraction)
        center = self._nodes + self._drift * (fraction - self._fraction)
        tails = ndtr((-reach - center) / step) + ndtr((center - reach) / step)
        return float(self._mass @ tails)

    def bound(self, fraction: float, probability: float) -> float:
        """The bound that is crossed at the next look with this probability."""
        if self.crossing(fraction, _WIDEST) >= probability:
            return _WIDEST
        if self.crossing(fraction, 0.0) <= probability:
            return 0.0
        return float(brentq(lambda bound: self.crossing(fraction, bound) - probability, 0.0, _WIDEST))

    def after(self, fraction: float, bound: float) -> "_Surviving":
        """The process after the next look with this bound."""
        step = math.sqrt(fraction - self._fraction)
        reach = bound * math.sqrt(fraction)
        nodes = _NODES * reach
        center = self._nodes + self._drift * (fraction - self._fraction)
        apart = (nodes[:, None] - center[None, :]) / step
        density = np.exp(-0.5 * apart**2) @ self._mass / (step * math.sqrt(2 * math.pi))
        return _Surviving(self._drift, fraction, nodes, density * _WEIGHTS * reach)
