"""Counts what became of the requests that an experiment concerned, arm by arm.

Labels are keys of experiments and arms, which definitions bound, and names of service levels.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter

from serving.call import Call

FAILED: Final = "FAILED"
"""Outcome of a call that ended with an error of ours."""
_OURS = frozenset(
    {"INTERNAL", "UNKNOWN", "UNAVAILABLE", "FAILED_PRECONDITION", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}
)


class ArmAnswers:
    """One counter, ``recsys_experiment_answers``; later pages are not counted."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._answers = Counter(
            "recsys_experiment_answers",
            "Requests that an experiment concerned, by arm and by service level of the answer, or FAILED.",
            ("experiment", "arm", "outcome"),
            registry=registry,
        )

    def count(self, call: Call) -> None:
        """Count a call that has ended, for every experiment that concerned it."""
        if call.is_later_page:
            return
        if call.status in _OURS:
            outcome = FAILED
        elif call.answer is not None:
            outcome = call.answer.service_level.value
        else:
            return
        for experiment, arm in call.arms:
            self._answers.labels(experiment, arm, outcome).inc()
