"""Many metrics and arms: p-values corrected for their number.

Those of guardrails are not: a missed harm costs more.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from recsys.errors import ConfigError
from recsys.experiments.comparison import Comparison

Correction = Literal["holm", "benjamini_hochberg", "none"]

_METHODS = {"holm": "holm", "benjamini_hochberg": "fdr_bh"}


def adjusted(p_values: Sequence[float], correction: Correction) -> list[float]:
    """Adjusted p-values, in the order given.

    Source: Holm, Scandinavian Journal of Statistics 1979; Benjamini, Hochberg, JRSS B 1995; both by
        statsmodels.

    Raises:
        ConfigError: The extra ``experiments`` is not installed.
    """
    if correction == "none" or len(p_values) < 2:
        return list(p_values)
    try:
        from statsmodels.stats.multitest import multipletests
    except ImportError as error:
        raise ConfigError(f"corrected p-values need: pip install '.[experiments]' ({error})") from error
    corrected = multipletests(p_values, method=_METHODS[correction])[1]
    return [float(p_value) for p_value in corrected]


def correct(
    families: Sequence[tuple[Comparison, ...]], correction: Correction
) -> list[tuple[Comparison, ...]]:
    """The comparisons with p-values adjusted for all of them together; those without p-value stay."""
    given = [each.p_value for family in families for each in family if each.p_value is not None]
    corrected = iter(adjusted(given, correction))
    return [
        tuple(
            each if each.p_value is None else replace(each, adjusted_p_value=next(corrected))
            for each in family
        )
        for family in families
    ]
