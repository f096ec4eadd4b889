"""Why an item has its score: every feature's part in it, and the greatest parts in words."""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Float64

from recsys.answer import Contributions, Explanation
from recsys.ranker import Ranker

_NUM_REASONS = 3


def explained(ranker: Ranker, matrix: Float32[np.ndarray, "items features"]) -> list[Explanation]:
    """An explanation per row; see ``Ranker.contributions``."""
    values: Float64[np.ndarray, "items features_and_base"] = ranker.contributions(matrix)
    return [
        Explanation(row[-1], Contributions(ranker.feature_names, features, row[:-1]))
        for features, row in zip(matrix.tolist(), values.tolist(), strict=True)
    ]


def reasons(contributions: Contributions, words: Mapping[str, str]) -> tuple[str, ...]:
    """The words of the features that raised the score most, each said once, at most three.

    A feature that is absent or 0 is no reason: there is nothing to point at.

    Args:
        contributions: Of one item.
        words: A reason by feature name; ``{value}`` in it stands for the feature's value.
    """
    told = zip(contributions.contributions, contributions.values, contributions.features, strict=True)
    raised = [(part, value, name) for part, value, name in told if part > 0 and value]
    raised.sort(key=lambda one: -one[0])
    said: dict[str, None] = {}
    for _, value, name in raised:
        if not math.isnan(value):
            said[words[name].format(value=value)] = None
        if len(said) == _NUM_REASONS:
            break
    return tuple(said)
