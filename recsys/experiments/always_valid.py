"""Inference that may be read at any time: it holds at all looks together, however many there are.

The price is width: at ``expected_units`` and alpha = .05 an interval is 1.55 times as wide as a fixed one.
Asymptotic: not to be trusted below ``MIN_UNITS`` per arm.
"""

import math
from typing import Any

import numpy as np

MIN_UNITS = 200
"""Units per arm before the first decision, by any method."""
MIN_CONVERSIONS = 20
"""Conversions per arm before the first decision on a proportion, by any method."""
DEFAULT_EXPECTED_UNITS = 10_000
"""Where intervals are narrowest when a definition does not say; they hold everywhere."""

_Number = Any
"""A float or an array of them; every formula here works element by element."""


def mixture_scale(alpha: float, expected_units: float) -> float:
    """The ``rho`` that makes intervals narrowest at ``expected_units``.

    Source: Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, arXiv:2103.06476, appendix B.2 (approximation of
    the optimum).
    """
    return math.sqrt((-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / expected_units)


def critical_value(n: _Number, alpha: float, rho: float) -> _Number:
    """Half width of a two-sided asymptotic confidence sequence, in standard errors.

    Args:
        n: Units seen so far.
        alpha: Probability to be wrong at any look.
        rho: From ``mixture_scale``, fixed before the data.

    Source: Waudby-Smith et al., arXiv:2103.06476, equation 3 with sigma^2 = n SE^2.

    >>> round(critical_value(10_000, 0.05, mixture_scale(0.05, 10_000.0)), 3)
    3.035
    """
    scaled = n * rho**2
    return np.sqrt(2 * (scaled + 1) / scaled * np.log(np.sqrt(scaled + 1) / alpha))


def one_sided_critical_value(n: _Number, alpha: float, rho: float) -> _Number:
    """Distance of a one-sided bound from the estimate, in standard errors.

    Source: Waudby-Smith et al., arXiv:2103.06476, one-sided sequences (half-normal mixture).
    """
    scaled = n * rho**2
    return np.sqrt(2 * (scaled + 1) / scaled * np.log(1 + np.sqrt(scaled + 1) / (2 * alpha)))


def p_value(z: _Number, n: _Number, rho: float) -> _Number:
    """The smallest alpha at which the sequence with this ``rho`` excludes zero at this look."""
    scaled = n * rho**2
    return np.minimum(1.0, np.sqrt(scaled + 1) * np.exp(-(z**2) * scaled / (2 * (scaled + 1))))


def mixture_p_value(difference: _Number, squared_error: _Number, tau: float) -> _Number:
    """P-value of the mixture sequential probability ratio test (mSPRT) at this look.

    Args:
        difference: Treatment's mean minus control's.
        squared_error: Its squared standard error; 2 s^2 / n for two arms of n units with variance s^2.
        tau: Standard deviation of the effects that are mixed, about the minimum effect; fixed before the
            data.

    Returns:
        1 over the likelihood ratio, at most 1. The p-value at look k is the least of the looks so far.

    Source: Johari, Koomen, Pekelis, Walsh, "Always valid inference", Operations Research 2022
    (arXiv:1512.04922), equation 5 for two normal streams.
    """
    total = squared_error + tau**2
    log_ratio = 0.5 * np.log(squared_error / total) + tau**2 * difference**2 / (2 * squared_error * total)
    return np.minimum(1.0, np.exp(-log_ratio))
