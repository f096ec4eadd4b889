"""Shoppers that never were: how likely they buy or click what they are shown, and what an arm adds to that.

The chance of an item is a rate, times ``1 / log2(place + 2)`` for its place from 0 on, times the household's
affinity: ``1 + log2(1 + times bought before)``, at most 4. The treatment multiplies the chance of a purchase,
and leaves clicks alone. What households bought before is known once and for all, so that chances follow from
the lists alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from recsys.experiments.metric import MetricDefinition

COLUMNS: Final = ("impressions", "clicks", "purchases", "orders", "revenue", "converted")
"""What is expected of a unit, named as in ``log_metrics``."""
_MAX_AFFINITY = 4.0

Chances = Float[np.ndarray, " items"]
Expected = Float[np.ndarray, " columns"]
"""One number for each of ``COLUMNS``; of a visit, ``converted`` is that of ``orders``."""


@dataclass(frozen=True)
class ChoiceModel:
    """How households choose."""

    effect: float = 0.0
    """Relative difference that the treatment makes to the chance of a purchase; 0 is A/A."""
    purchase_rate: float = 0.05
    click_rate: float = 0.1

    def appeal(self, bought: Mapping[str, int], item_ids: Sequence[str]) -> Chances:
        """What place and affinity make of each item of a list."""
        times = np.asarray([bought.get(item_id, 0) for item_id in item_ids], np.float64)
        affinity = np.minimum(1 + np.log2(1 + times), _MAX_AFFINITY)
        return np.asarray(affinity / np.log2(np.arange(len(times)) + 2))

    def purchases(self, appeal: Chances, *, treated: bool) -> Chances:
        """Chance of each item to be bought."""
        factor = 1 + self.effect if treated else 1.0
        return np.minimum(np.minimum(self.purchase_rate * appeal, 1.0) * factor, 1.0)

    def clicks(self, appeal: Chances) -> Chances:
        """Chance of each item to be clicked."""
        return np.minimum(self.click_rate * appeal, 1.0)

    def expected(self, appeal: Chances, prices: Chances, *, treated: bool) -> Expected:
        """What one visit brings on average, exactly."""
        chances = self.purchases(appeal, treated=treated)
        anything = 1 - np.prod(1 - chances)
        sums = (len(appeal), self.clicks(appeal).sum(), chances.sum(), anything, chances @ prices, anything)
        return np.asarray(sums, np.float64)


def over_visits(visits: Sequence[Expected]) -> Expected:
    """What all visits of a unit bring on average: sums, and the chance of at least one purchase."""
    each = np.asarray(visits)
    return np.append(each[:, :-1].sum(axis=0), 1 - np.prod(1 - each[:, -1]))


@dataclass(frozen=True, eq=False)
class PlantedEffect:
    """The truth: what all units would do in control and in treatment, given the lists that they saw."""

    control: Expected
    """Mean of all units."""
    treatment: Expected

    def of(self, metric: MetricDefinition) -> tuple[float, float] | None:
        """Absolute and relative difference of a metric; ``None`` where the model does not say.

        A winsorised metric is another one than the model's, so nothing is said of it.
        """
        names = [name for name in metric.columns if name != metric.covariate]
        if metric.winsorize is not None or not set(names) <= set(COLUMNS):
            return None
        control, treatment = (_value(means, names) for means in (self.control, self.treatment))
        return (treatment - control, treatment / control - 1) if control else None


def _value(means: Expected, names: Sequence[str]) -> float:
    parts = [float(means[COLUMNS.index(name)]) for name in names]
    if len(parts) == 1:
        return parts[0]
    return parts[0] / parts[1] if parts[1] else 0.0
