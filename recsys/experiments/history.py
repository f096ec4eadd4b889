"""What the audit log makes of every experiment: its latest version, whether it runs, and for whom."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from recsys.experiments.audit import AuditEntry
from recsys.experiments.definition import Experiment


@dataclass(frozen=True)
class Running:
    """An experiment and what became of it, also after it was stopped."""

    experiment: Experiment
    version: int
    coverage: float
    """Share of every arm that takes part now."""
    started: datetime
    """When this version began, UTC."""
    stopped: datetime | None = None
    """When it ended; ``None`` while it runs."""
    reason: str = ""
    """Why it ended."""
    forced: Mapping[str, str] = field(default_factory=dict)
    """Arms by unit, given by hand."""

    @property
    def is_running(self) -> bool:
        """Whether it assigns units."""
        return self.stopped is None


@dataclass(frozen=True)
class Known:
    """What the audit log says of one experiment."""

    key: str
    version: int
    fingerprint: str
    coverage: float
    started: datetime
    stopped: datetime | None = None
    reason: str = ""
    forced: tuple[tuple[str, str], ...] = ()

    def of(self, experiment: Experiment) -> Running:
        """The same with the definition."""
        about = (self.version, self.coverage, self.started, self.stopped, self.reason)
        return Running(experiment, *about, dict(self.forced))


def latest_states(entries: Iterable[AuditEntry]) -> dict[str, Known]:
    """What the last entries leave, by key."""
    known: dict[str, Known] = {}
    for entry in entries:
        before = known.get(entry.key)
        if entry.action == "start":
            coverage = 1.0 if entry.coverage is None else entry.coverage
            known[entry.key] = Known(entry.key, entry.version, entry.fingerprint, coverage, entry.time)
        elif before is not None:
            known[entry.key] = _after(before, entry)
    return known


def versions_of(entries: Iterable[AuditEntry], key: str) -> list[int]:
    """The versions of an experiment that were started, ascending."""
    return sorted({entry.version for entry in entries if entry.key == key and entry.action == "start"})


def _after(before: Known, entry: AuditEntry) -> Known:
    if entry.action == "ramp" and entry.coverage is not None:
        return replace(before, coverage=entry.coverage)
    if entry.action == "stop":
        return replace(before, stopped=entry.time, reason=entry.reason)
    forced = {unit: arm for unit, arm in before.forced if unit != entry.unit}
    if entry.unit is not None and entry.arm is not None:
        forced[entry.unit] = entry.arm
    return replace(before, forced=tuple(forced.items()))
