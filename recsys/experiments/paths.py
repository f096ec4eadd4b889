"""Experiments that never were: units drawn from history, arms by chance, and what each look would see."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from recsys.experiments.metric import Kind

_CHUNK_UNITS = 1_000_000


@dataclass(frozen=True)
class Population:
    """What units do, and how they are split."""

    outcomes: Float[np.ndarray, "outcomes units"]
    """The value, or numerator and denominator."""
    kind: Kind
    share: float
    """Of the units, in the treatment arm."""
    effect: float = 0.0
    """Relative difference that the treatment makes."""


@dataclass(frozen=True)
class Paths:
    """What looks saw, run by run."""

    difference: Float[np.ndarray, "runs looks"]
    """Treatment minus control."""
    std_error: Float[np.ndarray, "runs looks"]
    fewest: Float[np.ndarray, "runs looks"]
    """Units of the smaller arm."""
    units: Float[np.ndarray, " looks"]
    """Of both arms."""

    @property
    def z(self) -> Float[np.ndarray, "runs looks"]:
        """The difference in standard errors; 0 where nothing varies."""
        varies = self.std_error > 0
        z = np.zeros_like(self.difference)
        np.divide(self.difference, self.std_error, out=z, where=varies)
        return z


def draw_paths(
    population: Population, rng: np.random.Generator, *, runs: int, looks: int, block: int
) -> Paths:
    """Draw experiments, with replacement.

    Args:
        population: What is drawn from.
        rng: Source of chance.
        runs: Experiments.
        looks: Looks in each.
        block: Units between two looks.
    """
    chunk = max(_CHUNK_UNITS // (looks * block), 1)
    parts = [
        _chunk(population, rng, (min(chunk, runs - done), looks, block)) for done in range(0, runs, chunk)
    ]
    difference, std_error, fewest = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Paths(difference, std_error, fewest, block * np.arange(1.0, looks + 1))


def _chunk(
    population: Population, rng: np.random.Generator, shape: tuple[int, int, int]
) -> tuple[Float[np.ndarray, "runs looks"], Float[np.ndarray, "runs looks"], Float[np.ndarray, "runs looks"]]:
    """Difference, standard error and units of the smaller arm."""
    outcomes, kind = population.outcomes, population.kind
    drawn = outcomes[:, rng.integers(0, outcomes.shape[1], shape)]
    treated = rng.random(shape) < population.share
    drawn[0] = _planted(drawn[0], treated, kind, population.effect, rng)
    center = outcomes.mean(axis=1)
    sums = [_sums(drawn, arm, center) for arm in (treated, ~treated)]
    means, errors = zip(*(_estimates(each, kind, center) for each in sums), strict=True)
    return means[0] - means[1], np.sqrt(errors[0] + errors[1]), np.minimum(sums[0][0], sums[1][0])


def _planted(
    values: Float[np.ndarray, "runs looks block"],
    treated: Bool[np.ndarray, "runs looks block"],
    kind: Kind,
    effect: float,
    rng: np.random.Generator,
) -> Float[np.ndarray, "runs looks block"]:
    if not effect:
        return values
    if kind != "proportion":
        return np.where(treated, values * (1 + effect), values)
    rate = values.mean()
    turned = rng.random(values.shape) < abs(effect) * rate / (1 - rate if effect > 0 else rate)
    return np.where(treated & turned, float(effect > 0), values)


def _sums(
    drawn: Float[np.ndarray, "outcomes runs looks block"],
    arm: Bool[np.ndarray, "runs looks block"],
    center: Float[np.ndarray, " outcomes"],
) -> list[Float[np.ndarray, "runs looks"]]:
    """Units so far, then sums of deviations and of their products, cumulative over looks."""
    deviations = [np.where(arm, column - middle, 0.0) for column, middle in zip(drawn, center, strict=True)]
    products = [one * other for i, one in enumerate(deviations) for other in deviations[i:]]
    return [part.sum(axis=2, dtype=float).cumsum(axis=1) for part in (arm, *deviations, *products)]


def _estimates(
    sums: list[Float[np.ndarray, "runs looks"]], kind: Kind, center: Float[np.ndarray, " outcomes"]
) -> tuple[Float[np.ndarray, "runs looks"], Float[np.ndarray, "runs looks"]]:
    """Mean or ratio of an arm and its squared standard error."""
    n = np.maximum(sums[0], 2.0)
    if kind != "ratio":
        mean = sums[1] / n
        return mean + center[0], np.maximum(sums[2] / n - mean**2, 0.0) / (n - 1)
    top, bottom, top_top, top_bottom, bottom_bottom = (part / n for part in sums[1:])
    denominator = bottom + center[1]
    ratio = (top + center[0]) / denominator
    spread = (
        top_top - top**2 - 2 * ratio * (top_bottom - top * bottom) + ratio**2 * (bottom_bottom - bottom**2)
    )
    return ratio, np.maximum(spread, 0.0) / denominator**2 / (n - 1)
