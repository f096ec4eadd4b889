"""From a table of units to a result: estimates, comparisons, corrections and a verdict, in that order."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from recsys.experiments.data_quality import OPEN_WINDOWS, Problem
from recsys.experiments.definition import Experiment
from recsys.experiments.look_book import Look
from recsys.experiments.metric_analysis import analyze_metric
from recsys.experiments.multiplicity import correct
from recsys.experiments.reading import Reading, reading_of
from recsys.experiments.result import MetricResult, NoveltyDay, Result
from recsys.experiments.sample_ratio import check_sample_ratio
from recsys.experiments.segments import by_segment
from recsys.experiments.sensitivity import sensitivity
from recsys.experiments.timeline import over_time
from recsys.experiments.unit_table import UnitTable
from recsys.experiments.verdict import judge


def analyze(
    experiment: Experiment,
    table: UnitTable,
    segments: Sequence[str] = (),
    novelty: Sequence[NoveltyDay] = (),
    past: Sequence[Look] | None = None,
) -> Result:
    """Analyse an experiment.

    Args:
        experiment: The definition.
        table: Its units, see ``read_units``.
        segments: Columns of the table whose values are looked at apart.
        novelty: The effect by days since the exposure, where it is known.
        past: Looks that were taken, oldest first; ``None`` where nobody keeps a book.
    """
    units = {arm.key: table.units.get(arm.key, 0) for arm in experiment.arms}
    srm = check_sample_ratio(units, {arm.key: arm.weight for arm in experiment.arms})
    reading = reading_of(experiment.analysis, table.frame.height, past)
    problems = [*table.problems, *_empty_arms(experiment, units, table), *_unweighted_arms(experiment, units)]
    problems += [*_unknown_looks(reading)]
    metrics = []
    for metric in experiment.metrics:
        result, found = analyze_metric(experiment, table.frame, metric, reading)
        metrics.append(result)
        problems += found
    corrected = _corrected(metrics, experiment)
    return Result(
        experiment=experiment,
        units=units,
        srm=srm,
        metrics=corrected,
        problems=tuple(problems),
        judgement=judge(experiment, units, srm, corrected, tuple(problems), reading=reading),
        reading=reading,
        sensitivity=sensitivity(experiment, table.frame, reading),
        over_time=over_time(experiment, table.frame),
        segments=by_segment(experiment, table.frame, segments),
        novelty=tuple(novelty),
    )


def _empty_arms(experiment: Experiment, units: Mapping[str, int], table: UnitTable) -> list[Problem]:
    if table.frame.is_empty() and any(problem.code == OPEN_WINDOWS for problem in table.problems):
        return []
    empty = [arm.key for arm in experiment.arms if arm.weight > 0 and not units[arm.key]]
    if not empty:
        return []
    message = f"no units in {', '.join(empty)}; see that exposures of every arm are logged"
    return [Problem("empty_arm", "blocking", message)]


def _unweighted_arms(experiment: Experiment, units: Mapping[str, int]) -> list[Problem]:
    met = [f"{arm.key} {units[arm.key]:,}" for arm in experiment.arms if not arm.weight and units[arm.key]]
    if not met:
        return []
    message = (
        f"units are in arms of weight 0 ({', '.join(met)}), which nobody is assigned to but by hand: the log "
        "names the wrong arms, or the weights are not those that assigned; the sample ratio cannot tell"
    )
    return [Problem("unweighted_arm", "blocking", message)]


def _unknown_looks(reading: Reading) -> list[Problem]:
    if reading.past is not None or not reading.fractions:
        return []
    message = (
        "nobody keeps a book of the looks at this data, so earlier ones are taken as they were planned, and "
        "a look may be taken twice; give --looks FILE"
    )
    return [Problem("unknown_looks", "warning", message)]


def _corrected(metrics: Sequence[MetricResult], experiment: Experiment) -> tuple[MetricResult, ...]:
    """Correct the p-values of goal metrics for their number, times the number of arms."""
    goals = [result for result in metrics if result.metric.role != "guardrail"]
    families = correct([result.comparisons for result in goals], experiment.analysis.correction)
    corrected = {goal.metric.name: family for goal, family in zip(goals, families, strict=True)}
    return tuple(
        replace(result, comparisons=corrected.get(result.metric.name, result.comparisons))
        for result in metrics
    )
