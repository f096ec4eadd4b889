"""When a program may end an experiment by itself: on harm, bad service or broken data. It never ships one."""

from recsys.experiments.registry import ExperimentRegistry
from recsys.experiments.result import Result
from recsys.experiments.sample_ratio import ALARM


def reason_to_stop(result: Result) -> str | None:
    """Why an experiment must not go on; ``None`` when it may.

    It may be asked as often as one likes: a guardrail, degraded lists and slow ones count when a one-sided
    sequence that holds at all looks excludes their margin, in any arm, and a sample ratio when the test that
    holds at all looks calls it.
    """
    breached = [
        f"guardrail {metric.metric.name} is breached in {each.arm}"
        for metric in result.metrics
        for each in metric.comparisons
        if each.guardrail is not None and each.guardrail.status == "breached"
    ]
    breached += [words for arm in result.service for words in arm.breaches]
    if result.srm.surely_broken:
        p_value = result.srm.sequential_p_value
        breached.append(f"sample ratio mismatch, p = {p_value:.2g} below {ALARM:g} at any number of looks")
    return "; ".join(breached) or None


def stop_if_harmful(registry: ExperimentRegistry, result: Result) -> str | None:
    """End a running experiment where there is a reason to; the audit log keeps it.

    Returns:
        The reason, or ``None`` when nothing was ended.
    """
    key, reason = result.experiment.key, reason_to_stop(result)
    if reason is None or not registry.find(key).is_running:
        return None
    registry.stop(key, reason=reason, by="auto-stop")
    return reason
