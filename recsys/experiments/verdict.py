"""What follows from the numbers: ship, stop, continue, or nothing, because something is broken.

Nothing here ships anything: a verdict is advice to a person. Only a stop may be acted on by a program.
"""

from collections.abc import Mapping, Sequence

from recsys.experiments.always_valid import MIN_CONVERSIONS, MIN_UNITS
from recsys.experiments.comparison import Comparison
from recsys.experiments.data_quality import OPEN_WINDOWS, Problem, blocking
from recsys.experiments.definition import Experiment
from recsys.experiments.inference import is_final
from recsys.experiments.reading import Reading, false_alarm
from recsys.experiments.result import Judgement, MetricResult, Verdict
from recsys.experiments.sample_ratio import ALARM, SampleRatio

_REPEATED = "this method decides once, so more data do not change it"
_Decision = tuple[Verdict, str]


def judge(
    experiment: Experiment,
    units: Mapping[str, int],
    srm: SampleRatio,
    metrics: Sequence[MetricResult],
    problems: tuple[Problem, ...],
    *,
    reading: Reading,
) -> Judgement:
    """Judge an experiment by its primary metric and its guardrails.

    The whole is shipped when an arm can be, and stopped when all of them must be. What was decided at an
    earlier reading stays, unless data are broken or a guardrail is breached.
    """
    if obstacles := _obstacles(experiment, srm, problems):
        return Judgement("blocked", obstacles)
    primary = next(result for result in metrics if result.metric.role == "primary")
    guardrails = [result for result in metrics if result.metric.role == "guardrail"]
    decided: dict[str, _Decision] = {
        comparison.arm: _judge_arm(experiment, units, primary, comparison, guardrails, reading=reading)
        for comparison in primary.comparisons
    }
    verdicts = {arm: verdict for arm, (verdict, _) in decided.items()}
    if "ship" in verdicts.values():
        overall: Verdict = "ship"
    elif verdicts and set(verdicts.values()) == {"stop"}:
        overall = "stop"
    else:
        overall = "continue"
    reasons = [f"{arm}: {reason}" for arm, (_, reason) in decided.items()]
    if not any(units.values()):
        reasons += [problem.message for problem in problems if problem.code == OPEN_WINDOWS]
    if reading.settled is not None:
        reasons += [_REPEATED, *(f"then: {reason}" for reason in reading.settled.reasons)]
        return Judgement(overall, tuple(reasons), verdicts)
    if remark := _read_before(experiment, units, reading):
        reasons.append(remark)
    if overall in {"ship", "stop"} and _ended_early(experiment, units):
        reasons.append("ended before the planned size: the estimate tends to overstate the effect")
    return Judgement(overall, tuple(reasons), verdicts)


def _obstacles(experiment: Experiment, srm: SampleRatio, problems: tuple[Problem, ...]) -> tuple[str, ...]:
    found = [problem.message for problem in blocking(problems, experiment.primary.name)]
    if not srm.ok:
        found.insert(
            0,
            f"sample ratio mismatch: p = {srm.p_value:.2g} is below {ALARM:g}; the arms do not have the "
            "units their weights promise, so no result can be trusted. Find out what is lost on the way "
            "(assignment, bots, exposure logging) before reading on",
        )
    return tuple(found)


def _judge_arm(
    experiment: Experiment,
    units: Mapping[str, int],
    primary: MetricResult,
    comparison: Comparison,
    guardrails: Sequence[MetricResult],
    *,
    reading: Reading,
) -> _Decision:
    rails = {
        rail.metric.name: each.guardrail
        for rail in guardrails
        for each in rail.comparisons
        if each.arm == comparison.arm and each.guardrail is not None
    }
    if breached := [name for name, rail in rails.items() if rail.status == "breached"]:
        return "stop", f"guardrail {', '.join(breached)} is worse than its margin allows"
    if (kept := reading.settled) is not None:
        as_then = f"as on {kept.time:%Y-%m-%d}, at {kept.units:,} units"
        return kept.arms.get(comparison.arm, "continue"), as_then
    if waiting := _too_early(experiment, units, primary, comparison, reading):
        return "continue", waiting
    decision = _by_primary(experiment, units, primary, comparison)
    missing = [rail.metric.name for rail in guardrails if rail.metric.name not in rails]
    undecided = [name for name, rail in rails.items() if rail.status == "undecided"]
    if decision[0] == "ship" and (missing or undecided):
        names = ", ".join([*undecided, *missing])
        return "continue", f"{decision[1]}, but guardrail {names} is not shown to stay within its margin"
    return decision


def _too_early(
    experiment: Experiment,
    units: Mapping[str, int],
    primary: MetricResult,
    comparison: Comparison,
    reading: Reading,
) -> str | None:
    analysis, num_units = experiment.analysis, sum(units.values())
    planned = analysis.expected_units
    if analysis.method == "fixed" and planned is not None and num_units < planned:
        return f"{num_units:,} of {planned:,} planned units; method 'fixed' decides once, at the end"
    if analysis.method == "group_sequential" and not reading.fractions:
        which = "next" if reading.past else "first"
        return (
            f"{num_units:,} units; the {which} of {analysis.looks} looks is at {reading.next_units or 0:,}. "
            "Until then nothing is decided, and intervals are those that hold at any time"
        )
    return too_few(primary, comparison)


def too_few(primary: MetricResult, comparison: Comparison) -> str | None:
    """Why two arms are too small for the normal approximation that every method rests on; ``None`` if not."""
    arms = [primary.arms[arm] for arm in (comparison.arm, comparison.control)]
    if min(arm.n for arm in arms) < MIN_UNITS:
        return f"fewer than {MIN_UNITS} units in an arm"
    if primary.metric.kind == "proportion" and min(arm.n * arm.mean for arm in arms) < MIN_CONVERSIONS:
        return f"fewer than {MIN_CONVERSIONS} conversions in an arm"
    return None


def _read_before(experiment: Experiment, units: Mapping[str, int], reading: Reading) -> str | None:
    """What several readings of a fixed test cost."""
    if experiment.analysis.method != "fixed" or not reading.past:
        return None
    readings = [*(look.units for look in reading.past), sum(units.values())]
    if len(set(readings)) < 2:
        return None
    chance = false_alarm(experiment.analysis, readings)
    return (
        f"this is reading {len(set(readings))} of a test that holds for one: the chance to find something "
        f"where there is nothing is {chance:.0%} by now, not {experiment.analysis.alpha:.0%}"
    )


def _by_primary(
    experiment: Experiment, units: Mapping[str, int], primary: MetricResult, comparison: Comparison
) -> _Decision:
    analysis, name = experiment.analysis, primary.metric.name
    p_value = comparison.adjusted_p_value
    if p_value is None:
        return "continue", f"{name} does not vary"
    shown = f"{name} {_effect(comparison)}, adjusted p = {p_value:.2g}"
    if p_value <= analysis.alpha:
        improves = comparison.improves(primary.metric)
        return ("ship", f"{shown}: better") if improves else ("stop", f"{shown}: worse")
    if not is_final(analysis, sum(units.values())):
        return "continue", f"{shown}: undecided so far"
    if analysis.method == "always_valid" and not _is_futile(experiment, comparison):
        return "continue", f"{shown}: undecided, the minimum effect is still possible"
    return "stop", f"{shown}: no difference found at the planned size"


def _is_futile(experiment: Experiment, comparison: Comparison) -> bool:
    """Whether the interval excludes an improvement by the minimum effect."""
    wanted = experiment.analysis.minimum_effect
    low, high = comparison.relative.low, comparison.relative.high
    if wanted is None or low is None or high is None:
        return False
    return high < wanted if experiment.primary.direction == "increase" else low > -wanted


def _effect(comparison: Comparison) -> str:
    relative = comparison.relative.estimate
    return f"{comparison.absolute.estimate:+.4g}" if relative is None else f"{relative:+.2%}"


def _ended_early(experiment: Experiment, units: Mapping[str, int]) -> bool:
    analysis = experiment.analysis
    return analysis.method != "fixed" and not is_final(analysis, sum(units.values()))
