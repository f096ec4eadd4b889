"""Prometheus metrics of one server process.

Labels hold only what configuration and code bound: methods, statuses, placements, reasons and model versions,
never what a caller made up. What changes with calls is counted when a call ends; what can be read off the
running parts is read when somebody asks.
"""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

from recsys.answer import RankedList, ServiceLevel
from serving.arm_answers import ArmAnswers
from serving.call import Call
from serving.score_drift import ScoreDrift
from serving.state_reader import STATE_UNAVAILABLE

NO_HISTORY = "no_history"
"""Cause of an empty answer: the placement shows only what the user had before, and that is nothing."""
UNEXPECTED = "unexpected"
"""Cause of an empty answer: anything else: filters that leave nothing, a state that did not come."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_CANDIDATES = (0, 10, 50, 100, 200, 500, 1000, 2000, 5000)
_MAX_MODELS = 4  # whose scores are followed at once: stable, canary, shadow, and one that is leaving


class CallMetrics:
    """An observer of calls that counts them; a request costs a few dictionary look-ups and additions."""

    def __init__(
        self, registry: CollectorRegistry, shows_history: Callable[[str], bool] = lambda _: False
    ) -> None:
        """Count.

        Args:
            registry: Where to.
            shows_history: Whether a placement shows nothing but what the user had before, so that it may well
                be empty.
        """
        self._shows_history = shows_history
        self._calls = Counter("recsys_calls", "Calls that ended.", ("method", "status"), registry=registry)
        self._seconds = _histogram("recsys_call_seconds", "Time of a call.", ("method",), _SECONDS, registry)
        self._stage_seconds = _histogram(
            "recsys_stage_seconds", "Time of a stage of a call.", ("method", "stage"), _SECONDS, registry
        )
        self._answers = Counter(
            "recsys_answers", "Answers by how much of the pipeline they went through.",
            ("method", "placement", "service_level"), registry=registry,
        )  # fmt: skip
        self._empty = Counter(
            "recsys_empty_answers", "Answers without any item.",
            ("method", "placement", "cause"), registry=registry,
        )  # fmt: skip
        self._later_pages = Counter(
            "recsys_later_pages", "Further parts of lists that an earlier call ranked.",
            ("placement", "service_level"), registry=registry,
        )  # fmt: skip
        self._degraded = Counter(
            "recsys_degraded_answers", "Answers that were simpler, by reason.", ("reason",), registry=registry
        )
        self._candidates = _histogram(
            "recsys_candidates", "Items ranked for an answer.", ("method", "placement"), _CANDIDATES, registry
        )
        self._events = Counter(
            "recsys_events", "Events by what became of them.", ("outcome",), registry=registry
        )
        self._blurbs = Counter(
            "recsys_blurbs", "Items of answers by their blurbs.", ("source", "freshness"), registry=registry
        )
        self._arms = ArmAnswers(registry)
        self._of_call: dict[tuple[str, str], tuple[Counter, Histogram]] = {}
        self._of_stage: dict[tuple[str, str], Histogram] = {}
        self._of_answer: dict[tuple[str, str, ServiceLevel], tuple[Counter, Histogram]] = {}
        self._drifts: dict[tuple[str, str], ScoreDrift] = {}
        registry.register(_Collector(self._scores))

    def __call__(self, call: Call) -> None:
        """Count one call."""
        key = (call.method, call.status)
        if key not in self._of_call:
            self._of_call[key] = self._calls.labels(*key), self._seconds.labels(call.method)
        calls, seconds = self._of_call[key]
        calls.inc()
        seconds.observe(call.ended - call.started)
        for name, started, ended in call.stages:
            self._stage(call.method, name).observe(ended - started)
        if call.answer is not None and call.is_later_page:
            self._later_pages.labels(call.placement, call.answer.service_level.value).inc()
        elif call.answer is not None:
            self._count_answer(call.method, call.placement, call.answer)
        if call.blurbs is not None:
            for kind, number in call.blurbs.items():
                self._blurbs.labels(*kind).inc(number)
        if call.arms:
            self._arms.count(call)
        for outcome, number in call.outcomes.items():
            self._events.labels(outcome).inc(number)

    def _stage(self, method: str, name: str) -> Histogram:
        known = self._of_stage.get((method, name))
        if known is None:
            known = self._of_stage[method, name] = self._stage_seconds.labels(method, name)
        return known

    def _count_answer(self, method: str, placement: str, answer: RankedList) -> None:
        key = (method, placement, answer.service_level)
        if key not in self._of_answer:
            self._of_answer[key] = (
                self._answers.labels(method, placement, answer.service_level.value),
                self._candidates.labels(method, placement),
            )
            self._empty.labels(method, placement, UNEXPECTED)  # it is there before it rises
        answers, candidates = self._of_answer[key]
        answers.inc()
        candidates.observe(answer.num_candidates)
        knows_user = STATE_UNAVAILABLE not in answer.degraded_reasons
        if not answer.items and knows_user and self._shows_history(placement):
            self._empty.labels(method, placement, NO_HISTORY).inc()
            return
        for reason in answer.degraded_reasons:
            self._degraded.labels(reason).inc()
        if not answer.items:
            self._empty.labels(method, placement, UNEXPECTED).inc()
        elif answer.service_level is ServiceLevel.FULL and method.endswith("/Recommend"):
            self._drift(answer.model_version, placement).add(answer.items[0].score)

    def _drift(self, version: str, placement: str) -> ScoreDrift:
        drift = self._drifts.get((version, placement))
        if drift is None:
            versions = list(dict.fromkeys(known for known, _ in self._drifts))
            if version not in versions and len(versions) >= _MAX_MODELS:
                self._drifts = {key: d for key, d in self._drifts.items() if key[0] != versions[0]}
            drift = self._drifts[version, placement] = ScoreDrift()
        return drift

    def _scores(self) -> Iterator[Metric]:
        labels = ("model_version", "placement")
        mean = GaugeMetricFamily("recsys_score_mean", "Recent mean of the best score.", labels=labels)
        first = GaugeMetricFamily(
            "recsys_score_first_mean", "Its mean over the first answers.", labels=labels
        )
        deviation = GaugeMetricFamily("recsys_score_first_deviation", "Its deviation in them.", labels=labels)
        drift = GaugeMetricFamily(
            "recsys_score_drift", "Recent less first mean, in deviations of the first.", labels=labels
        )
        for key, followed in self._drifts.copy().items():
            mean.add_metric(key, followed.recent_mean)
            first.add_metric(key, followed.mean)
            deviation.add_metric(key, followed.deviation)
            drift.add_metric(key, followed.drift)
        yield from (mean, first, deviation, drift)


def watch(
    registry: CollectorRegistry,
    *,
    worker: int,
    model_version: Callable[[], str],
    num_running: Callable[[], int],
    num_unobserved: Callable[[], int],
    num_refused: Callable[[], int],
    breaker_is_open: Callable[[], bool],
    num_unreadable_states: Callable[[], int],
    blurb_reads: Callable[[], tuple[int, bool]],
    backlog: Callable[[], tuple[int, int] | None],
    substitutions: Callable[[], Mapping[str, int]],
) -> None:
    """Export what can be read off the running parts, and the process itself.

    Args:
        registry: Where to.
        worker: Number of this process among those of its server.
        model_version: Version of the model that answers.
        num_running: Calls that have begun and not ended.
        num_unobserved: Calls that could not be logged, counted or traced since the start.
        num_refused: Calls refused because of overload since the start; no other record is made of them.
        breaker_is_open: Whether answers go without the state because it failed.
        num_unreadable_states: States that could not be read since the start.
        blurb_reads: Reads of blurbs that the store did not answer in time since the start, and whether
            answers go without them because it failed.
        backlog: Events that have not left the buffer for the log, and those of them that no state has yet;
            ``None`` while the buffer does not answer.
        substitutions: Requests whose arm's model was not in memory, by experiment.
    """

    def parts() -> Iterator[Metric]:
        place = GaugeMetricFamily("recsys_worker_info", "Which worker this is.", labels=("worker",))
        place.add_metric((str(worker),), 1)
        yield place
        model = GaugeMetricFamily("recsys_model_info", "The model that answers.", labels=("version",))
        model.add_metric((model_version(),), 1)
        yield model
        yield GaugeMetricFamily("recsys_calls_running", "Calls in progress.", value=num_running())
        unobserved = CounterMetricFamily("recsys_unobserved_calls", "Calls that could not be noted down.")
        unobserved.add_metric((), num_unobserved())
        yield unobserved
        refused = CounterMetricFamily("recsys_refused_calls", "Calls refused because of overload.")
        refused.add_metric((), num_refused())
        yield refused
        is_open = float(breaker_is_open())
        yield GaugeMetricFamily("recsys_state_breaker_open", "1 while no state is read.", value=is_open)
        unreadable = CounterMetricFamily("recsys_unreadable_states", "States that could not be read.")
        unreadable.add_metric((), num_unreadable_states())
        yield unreadable
        num_failed, is_off = blurb_reads()
        failed = CounterMetricFamily("recsys_blurb_reads_failed", "Blurbs that did not come in time.")
        failed.add_metric((), num_failed)
        yield failed
        yield GaugeMetricFamily("recsys_blurb_breaker_open", "1 while no blurb is read.", value=float(is_off))
        substituted = CounterMetricFamily(
            "recsys_substituted_models", "Requests whose arm's model was not there.", labels=("experiment",)
        )
        for experiment, number in tuple(substitutions().items()):
            substituted.add_metric((experiment,), number)
        yield substituted
        if (events := backlog()) is not None:
            buffered, unapplied = events
            yield GaugeMetricFamily("recsys_buffered_events", "Events not yet in the log.", value=buffered)
            yield GaugeMetricFamily("recsys_unapplied_events", "Events no state has yet.", value=unapplied)

    registry.register(_Collector(parts))
    ProcessCollector(registry=registry)


class _Collector:
    """What a registry asks for metrics."""

    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        return self._collect()


def _histogram(
    name: str, text: str, labels: tuple[str, ...], bounds: tuple[float, ...], registry: CollectorRegistry
) -> Histogram:
    return Histogram(name, text, labels, buckets=bounds, registry=registry)
