"""A result as the JSON document that other programs read; its names are a contract."""

import math
from dataclasses import asdict
from typing import Any

from recsys.experiments.comparison import Comparison, Interval
from recsys.experiments.estimate import ArmEstimate
from recsys.experiments.log_reach import LogReach
from recsys.experiments.result import Day, MetricResult, NoveltyDay, Result, Segment
from recsys.experiments.sample_ratio import SampleRatio


def as_json(result: Result) -> dict[str, Any]:
    """The document; numbers that do not exist are ``None``."""
    judgement = result.judgement
    return {
        "experiment": result.experiment.key,
        "fingerprint": result.experiment.fingerprint,
        "version": result.version,
        "srm": _srm(result.srm),
        "units": result.units,
        "metrics": [_metric(each, result.experiment.analysis.method) for each in result.metrics],
        "verdict": judgement.verdict,
        "reasons": list(judgement.reasons),
        "arm_verdicts": judgement.arms,
        "looks": [look.model_dump(mode="json") for look in result.reading.past or ()],
        "next_look_units": result.reading.next_units,
        "data_quality": [asdict(problem) for problem in result.problems],
        "sensitivity": [_metric(each, result.experiment.analysis.method) for each in result.sensitivity],
        "service": [asdict(arm) for arm in result.service],
        "data_until": _reach(result.reach),
        "over_time": [_day(day) for day in result.over_time],
        "segments": [_segment(segment) for segment in result.segments],
        "novelty": [_novelty(day) for day in result.novelty],
    }


def _reach(reach: LogReach | None) -> dict[str, str | None] | None:
    if reach is None:
        return None
    ends = {"lists": reach.lists, "events": reach.events}
    return {what: None if end is None else end.isoformat() for what, end in ends.items()}


def _metric(result: MetricResult, method: str) -> dict[str, Any]:
    metric = result.metric
    return {
        "name": metric.name,
        "role": metric.role,
        "kind": metric.kind,
        "direction": metric.direction,
        "method": method,
        "covariate": metric.covariate,
        "cap": result.cap,
        "arms": {arm: _arm(each) for arm, each in result.arms.items()},
        "comparisons": [_comparison(each) for each in result.comparisons],
    }


def _arm(estimate: ArmEstimate) -> dict[str, Any]:
    return {
        "mean": estimate.mean,
        "variance": estimate.variance,
        "n": estimate.n,
        "adjusted_mean": estimate.adjusted_mean,
        "adjusted_variance": estimate.adjusted_variance,
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    absolute, guardrail = comparison.absolute, comparison.guardrail
    document: dict[str, Any] = {
        "arm": comparison.arm,
        "control": comparison.control,
        "absolute": {
            "estimate": _finite(absolute.estimate),
            "std_error": _finite(comparison.std_error),
            "low": _finite(absolute.low),
            "high": _finite(absolute.high),
        },
        "relative": _interval(comparison.relative),
        "p_value": comparison.p_value,
        "adjusted_p_value": comparison.adjusted_p_value,
    }
    if guardrail is not None:
        document["guardrail"] = {"status": guardrail.status, "margin": guardrail.margin}
    return document


def _day(day: Day) -> dict[str, Any]:
    lifts = {
        arm: {"absolute": _interval(absolute), "relative": _interval(relative)}
        for arm, (absolute, relative) in day.lifts.items()
    }
    return {"date": day.date, "units": day.units, "srm": _srm(day.srm), "lifts": lifts}


def _segment(segment: Segment) -> dict[str, Any]:
    return {
        "column": segment.column,
        "value": segment.value,
        "exploratory": True,
        "units": segment.units,
        "srm": _srm(segment.srm),
        "comparisons": [_comparison(each) for each in segment.comparisons],
    }


def _novelty(day: NoveltyDay) -> dict[str, Any]:
    lifts = {arm: _interval(lift) for arm, lift in day.lifts.items()}
    return {"day": day.day, "units": day.units, "lifts": lifts}


def _srm(srm: SampleRatio) -> dict[str, Any]:
    tests = {"p_value": srm.p_value, "sequential_p_value": srm.sequential_p_value, "chi2": srm.chi2}
    return {**tests, "ok": srm.ok}


def _interval(interval: Interval) -> dict[str, float | None]:
    return {
        "estimate": _finite(interval.estimate),
        "low": _finite(interval.low),
        "high": _finite(interval.high),
    }


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
