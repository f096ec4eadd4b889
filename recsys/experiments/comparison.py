"""One arm against control on one metric, as a report shows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from recsys.experiments.definition import Analysis
from recsys.experiments.difference import Difference, compare
from recsys.experiments.estimate import ArmEstimate
from recsys.experiments.inference import Inference, inference_for, watching
from recsys.experiments.metric import MetricDefinition
from recsys.experiments.reading import Reading

GuardrailStatus = Literal["passed", "breached", "undecided"]


@dataclass(frozen=True)
class Interval:
    """An estimate and its bounds; ``None`` where there are none."""

    estimate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Guardrail:
    """Whether an arm does harm beyond a margin."""

    status: GuardrailStatus
    margin: float
    bound: float
    """The effect in the better direction is above this, one-sided, by the method of the definition."""
    ceiling: float
    """The effect in the better direction is below this, one-sided, whenever one looks."""


@dataclass(frozen=True)
class Comparison:
    """Treatment minus control."""

    arm: str
    control: str
    absolute: Interval
    std_error: float
    relative: Interval
    p_value: float | None
    """``None`` where nothing varies."""
    adjusted_p_value: float | None
    guardrail: Guardrail | None = None

    def improves(self, metric: MetricDefinition) -> bool:
        """Whether the estimate points the better way."""
        estimate = self.absolute.estimate or 0.0
        return estimate > 0 if metric.direction == "increase" else estimate < 0


def compare_arm(
    metric: MetricDefinition,
    estimates: Mapping[str, ArmEstimate],
    arms: tuple[str, str],
    analysis: Analysis,
    *,
    num_units: int,
    share: float,
    reading: Reading | None = None,
) -> Comparison:
    """Compare two arms.

    Args:
        metric: What is compared.
        estimates: By arm.
        arms: Treatment and control.
        analysis: The method.
        num_units: Units of all arms.
        share: Summed weights of both arms.
        reading: Which look it is, see ``inference_for``.
    """
    found = compare(estimates[arms[0]], estimates[arms[1]])
    if not found.std_error > 0:
        nothing = Interval(found.estimate, None, None)
        return Comparison(*arms, nothing, 0.0, Interval(found.relative, None, None), None, None)
    inference = inference_for(analysis, num_units, share, reading)
    critical, p_value = inference.critical(found), inference.p_value(found)
    relative = found.relative_interval(critical) or (None, None)
    is_guardrail = metric.role == "guardrail"
    return Comparison(
        *arms,
        absolute=Interval(found.estimate, *found.interval(critical)),
        std_error=found.std_error,
        relative=Interval(found.relative, *relative),
        p_value=p_value,
        adjusted_p_value=p_value,
        guardrail=_guardrail(metric, found, inference, watching(analysis, share)) if is_guardrail else None,
    )


def _guardrail(
    metric: MetricDefinition, found: Difference, inference: Inference, watched: Inference
) -> Guardrail:
    """Non-inferiority: with a margin, an arm passes when it is shown to stay within; without, unless harmful.

    A breach counts at any time, so it is judged by a sequence that holds at all looks.
    """
    better = found.estimate if metric.direction == "increase" else -found.estimate
    margin = metric.margin or 0.0
    bound = better - inference.one_sided(found) * found.std_error
    ceiling = better + watched.one_sided(found) * found.std_error
    if ceiling < -margin:
        status: GuardrailStatus = "breached"
    elif bound > -margin or not margin:
        status = "passed"
    else:
        status = "undecided"
    return Guardrail(status, margin, bound, ceiling)
