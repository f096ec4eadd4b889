"""Whether a model may serve: gates, and the record of every decision.

A gate reads what is stored beside the models, computes nothing anew, and says why it refuses. ``parity``: the
bundle verifies, its canary rows score here as they did, and offline equals online where that was tested.
``quality``: it is not significantly below the serving model. ``slices``: nor is it on any slice. Packages
above this one bring gates through the entry-point group ``recsys.gates``, which may compute: ``offpolicy``.

Reports hold intervals and no scores by user, so the difference of two models is not paired: its interval is
that of independent estimates, ``sqrt(a² + b²)`` of the half-widths, which is wider than the paired one. A
gate refuses when that interval lies wholly below 0.
"""

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from recsys.bundle import load_bundle
from recsys.errors import BundleError, ConfigError
from recsys.registry import Part, Registry
from recsys.workspace import Workspace

PRIMARY = "ndcg@10"
"""The metric that decides."""
_REPORT = {"model_version", "metrics", "split", "slices", "num_users"}
"""Keys that tell a report from other documents."""


@dataclass(frozen=True)
class Gate:
    """What a gate found."""

    name: str
    reasons: tuple[str, ...] = ()
    """Why it refuses; empty when it lets pass."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """The numbers that it read."""

    @property
    def passed(self) -> bool:
        """Whether it lets pass."""
        return not self.reasons


@dataclass(frozen=True)
class Decision:
    """A decision about a model, as it is recorded."""

    time: str
    """ISO 8601, UTC."""
    who: str
    """The command, or the interface, that asked."""
    version: str
    part: str
    """What the version was to become."""
    gates: tuple[Gate, ...]
    verdict: str
    """``promoted``, ``refused``, ``rolled back`` or, of a canary or a shadow, ``cleared``."""
    reasons: tuple[str, ...]
    """Why it was refused, or why whoever asked wanted it."""
    previous_version: str | None
    """The version that served before."""


def promote(
    workspace: Workspace,
    version: str,
    gates: Sequence[str],
    *,
    part: Part = "stable",
    canary_percent: float | None = None,
    who: str = "recsys models promote",
) -> Decision:
    """Let a version play a part, if every gate lets it pass; the decision is recorded either way.

    Args:
        workspace: The workspace.
        version: The version.
        gates: Names of ``gate_names`` to ask.
        part: What it becomes.
        canary_percent: Share of the users whom a canary answers.
        who: The command that asks.

    Raises:
        BundleError: There is no such version, or its manifest is damaged.
        ConfigError: There is no such gate, or its package is not installed.
    """
    registry = Registry(workspace.registry)
    registry.require(version)
    serving = registry.pointers().stable
    found = tuple(gate(name)(workspace, version, serving) for name in gates)
    reasons = tuple(f"{gate.name}: {reason}" for gate in found for reason in gate.reasons)
    if not reasons:
        registry.activate(part, version, canary_percent=canary_percent, expected_stable=serving)
    verdict = "refused" if reasons else "promoted"
    decision = Decision(_now(), who, version, part, found, verdict, reasons, serving)
    _record(registry, decision)
    return decision


def record(
    registry: Registry,
    version: str,
    part: Part,
    *,
    who: str,
    verdict: str,
    reason: str,
    previous_version: str | None,
) -> Decision:
    """Append a decision, made elsewhere and without gates, to those about its version.

    Args:
        registry: Where the decisions are.
        version: The version.
        part: What it was to become, or was.
        who: The interface that asked.
        verdict: What was decided, see ``Decision.verdict``.
        reason: Why, in words; empty for no reason given.
        previous_version: The version that served before.
    """
    reasons = (reason,) if reason else ()
    decision = Decision(_now(), who, version, part, (), verdict, reasons, previous_version)
    _record(registry, decision)
    return decision


def roll_back(workspace: Workspace, who: str = "recsys models rollback") -> Decision:
    """Let the version serve again that served before, and record it.

    Raises:
        BundleError: There is none, or its manifest is damaged.
    """
    registry = Registry(workspace.registry)
    before = registry.pointers().stable
    after = registry.rollback(expected_stable=before)
    decision = Decision(_now(), who, after.stable or "", "stable", (), "rolled back", (), before)
    _record(registry, decision)
    return decision


def decisions(registry: Registry, version: str) -> list[dict[str, Any]]:
    """Every decision about a version, oldest first."""
    path = _path(registry, version)
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def parity(workspace: Workspace, version: str, _serving: str | None) -> Gate:
    """Whether the bundle verifies, scores its canary rows as it did, and proved equal offline and online."""
    figures: dict[str, Any] = {}
    try:
        load_bundle(Registry(workspace.registry).path(version))
    except BundleError as error:
        return Gate("parity", (str(error),), figures)
    proof = _read(workspace.reports / f"{version}-parity.json")
    if proof is not None:
        figures = {name: proof.get(name) for name in ("ok", "rows", "order_mismatches")}
        if not proof.get("ok"):
            return Gate("parity", ("offline and online features differ; see: recsys verify parity",), figures)
    return Gate("parity", (), figures)


def quality(workspace: Workspace, version: str, serving: str | None) -> Gate:
    """Whether the new model is not significantly below the serving one."""
    reports = _reports(workspace, "quality", version, serving)
    if isinstance(reports, Gate):
        return reports
    new, old = (report["metrics"][PRIMARY] for report in reports)
    compared = _difference(new, old)
    below = f"{PRIMARY} is {_words(compared)} below that of {serving}"
    return Gate("quality", (below,) if compared["high"] < 0 else (), {PRIMARY: compared})


def slices(workspace: Workspace, version: str, serving: str | None) -> Gate:
    """Whether the new model is on no slice significantly below the serving one."""
    reports = _reports(workspace, "slices", version, serving)
    if isinstance(reports, Gate):
        return reports
    new, old = (report["slices"] for report in reports)
    compared = {
        name: _difference(new[name][PRIMARY], old[name][PRIMARY])
        for name in sorted(new.keys() & old.keys())
        if PRIMARY in new[name] and PRIMARY in old[name]
    }
    reasons = tuple(
        f"{PRIMARY} on {name} is {_words(one)} below that of {serving}"
        for name, one in compared.items()
        if one["high"] < 0
    )
    return Gate("slices", reasons, compared)


AskGate = Callable[[Workspace, str, str | None], Gate]
"""Called with the version that is to be promoted and the one that serves."""
GATES: Mapping[str, AskGate] = {"parity": parity, "quality": quality, "slices": slices}
"""What this package asks before a promotion, by name."""
_GROUP = "recsys.gates"


def gate_names() -> list[str]:
    """Names of all gates, those of other packages included."""
    return [*GATES, *sorted(entry_points(group=_GROUP).names - GATES.keys())]


def gate(name: str) -> AskGate:
    """A gate by its name.

    Raises:
        ConfigError: There is none of this name, or its package is not installed.
    """
    if name in GATES:
        return GATES[name]
    if name not in gate_names():
        raise ConfigError(f"there is no gate {name!r}; there are {', '.join(gate_names())}")
    [found] = entry_points(group=_GROUP, name=name)
    try:
        asked: AskGate = found.load()
    except ImportError as error:
        raise ConfigError(f"the gate {name} needs packages that are not installed: {error}") from error
    return asked


def _reports(
    workspace: Workspace, gate: str, version: str, serving: str | None
) -> tuple[dict[str, Any], dict[str, Any]] | Gate:
    """The newest reports on the new model and on the serving one, or a gate that refuses or need not ask."""
    if serving is None or serving == version:
        return Gate(gate)
    stored = _stored_reports(workspace)
    missing = [name for name in (version, serving) if name not in stored]
    if missing:
        commands = "; ".join(f"recsys evaluate --version {name}" for name in missing)
        return Gate(gate, (f"there is no evaluation report on {' and '.join(missing)}; run: {commands}",))
    new, old = stored[version], stored[serving]
    if _window(new) != _window(old):
        other = f"the reports are on different test windows, {_window(new)} and {_window(old)}"
        return Gate(gate, (f"{other}; evaluate both with the same --from and --to",))
    return new, old


def _stored_reports(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """The newest report on each version among the JSON files in ``reports/``."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(workspace.reports.glob("*.json"), key=lambda path: path.stat().st_mtime):
        report = _read(path)
        if report is not None and report.keys() >= _REPORT and "held_out" not in report:
            found[str(report["model_version"])] = report
    return found


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _window(report: Mapping[str, Any]) -> str:
    split = report["split"]
    return f"{split['test_from']} to {split['test_to']} with {report['num_users']:,} users"


def _difference(new: Mapping[str, float], old: Mapping[str, float]) -> dict[str, float]:
    """New minus old, with the interval of independent estimates."""
    value = new["value"] - old["value"]
    down = math.hypot(new["value"] - new["low"], old["high"] - old["value"])
    up = math.hypot(new["high"] - new["value"], old["value"] - old["low"])
    return {"value": value, "low": value - down, "high": value + up}


def _words(difference: Mapping[str, float]) -> str:
    return f"{-difference['value']:.4f} [{-difference['high']:.4f}, {-difference['low']:.4f}]"


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _path(registry: Registry, version: str) -> Path:
    return registry.root / "decisions" / f"{registry.path(version).name}.jsonl"


def _record(registry: Registry, decision: Decision) -> None:
    """Append a decision to those about its version, durably."""
    path = _path(registry, decision.version)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(decision), default=dict) + "\n")
        file.flush()
        os.fsync(file.fileno())
