"""The result of an experiment, complete: what the JSON, the page and the terminal show."""

from dataclasses import dataclass, field
from typing import Literal

from recsys.experiments.comparison import Comparison, Interval
from recsys.experiments.data_quality import Problem
from recsys.experiments.definition import Experiment
from recsys.experiments.estimate import ArmEstimate
from recsys.experiments.log_reach import LogReach
from recsys.experiments.metric import MetricDefinition
from recsys.experiments.reading import Reading
from recsys.experiments.sample_ratio import SampleRatio
from recsys.experiments.service_quality import ArmService

Verdict = Literal["ship", "stop", "continue", "blocked"]


@dataclass(frozen=True)
class MetricResult:
    """One metric in all arms."""

    metric: MetricDefinition
    arms: dict[str, ArmEstimate]
    """Arms with at least two units."""
    comparisons: tuple[Comparison, ...]
    cap: float | None = None
    """Where values were cut; ``None`` for nowhere."""


@dataclass(frozen=True)
class Day:
    """The primary metric of all units that were exposed until a day."""

    date: str
    units: dict[str, int]
    srm: SampleRatio
    lifts: dict[str, tuple[Interval, Interval]]
    """By arm: absolute and relative difference to control, with a band that holds on all days together."""


@dataclass(frozen=True)
class Segment:
    """The primary metric in one part of the units; exploratory."""

    column: str
    value: str
    units: dict[str, int]
    srm: SampleRatio
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class NoveltyDay:
    """The primary outcome on one day after the exposure, among units that were watched that long."""

    day: int
    """0 for the first 24 hours."""
    units: dict[str, int]
    lifts: dict[str, Interval]


@dataclass(frozen=True)
class Judgement:
    """What follows."""

    verdict: Verdict
    reasons: tuple[str, ...]
    arms: dict[str, Verdict] = field(default_factory=dict)
    """By treatment arm."""


@dataclass(frozen=True)
class Result:
    """Everything a report says."""

    experiment: Experiment
    units: dict[str, int]
    """By arm of the definition."""
    srm: SampleRatio
    metrics: tuple[MetricResult, ...]
    problems: tuple[Problem, ...]
    judgement: Judgement
    reading: Reading = field(default_factory=lambda: Reading(None))
    """Which look it is."""
    sensitivity: tuple[MetricResult, ...] = ()
    """Metrics of revenue, cut the other way; nothing is decided by them."""
    service: tuple[ArmService, ...] = ()
    """How lists were served, by arm; empty for data of one's own."""
    reach: LogReach | None = None
    """How far the logs reach; ``None`` for data of one's own."""
    over_time: tuple[Day, ...] = ()
    segments: tuple[Segment, ...] = ()
    novelty: tuple[NoveltyDay, ...] = ()
    version: int | None = None
    """Of the definition in the registry; ``None`` where it is of none."""
