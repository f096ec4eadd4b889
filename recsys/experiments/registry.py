"""Experiments on disk: definitions frozen by version and hash, and what becomes of them.

``registry/experiments/<key>/<version>.toml`` is never changed; ``audit.jsonl`` beside them says what runs,
and ``<version>.looks.jsonl`` what was read.
"""

from collections.abc import Mapping
from pathlib import Path

from recsys.errors import ConfigError
from recsys.experiments.audit import (
    AUDIT_FILE,
    Action,
    AuditEntry,
    append_audit,
    login_name,
    now,
    read_audit,
)
from recsys.experiments.conflicts import check_together
from recsys.experiments.definition import Experiment, load_experiment, parse_experiment
from recsys.experiments.history import Known, Running, latest_states, versions_of
from recsys.experiments.model_names import require_models
from recsys.file_lock import exclusive
from recsys.registry import Registry
from recsys.workspace import Workspace, atomic_path

_LOCK = ".lock"


class ExperimentRegistry:
    """The experiments of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.root = workspace.registry / "experiments"
        self._models = Registry(workspace.registry)
        self.audit_file = self.root / AUDIT_FILE

    def path(self, key: str, version: int) -> Path:
        """The file of a version."""
        return self.root / key / f"{version}.toml"

    def looks(self, key: str, version: int) -> Path:
        """The book of looks at a version, see ``recsys.experiments.look_book``."""
        return self.root / key / f"{version}.looks.jsonl"

    def audit(self) -> list[AuditEntry]:
        """What happened, oldest first.

        Raises:
            ConfigError: The log is damaged.
        """
        return read_audit(self.audit_file)

    def all(self) -> list[Running]:
        """Every experiment that was ever started, in its latest version; by key.

        Raises:
            ConfigError: The log or a definition is damaged, or a definition was edited since it started.
        """
        latest = latest_states(self.audit())
        return [self._loaded(latest[key]) for key in sorted(latest)]

    def running(self) -> list[Running]:
        """The experiments that assign units; see ``all``."""
        latest = latest_states(self.audit())
        return [self._loaded(latest[key]) for key in sorted(latest) if latest[key].stopped is None]

    def running_where_sound(self, before: Mapping[str, Running]) -> tuple[list[Running], list[str]]:
        """The same, as far as they can be read, for those who must go on: and what is wrong with the others.

        Args:
            before: Experiments by key, as they were when they could be read; they stand in for broken ones.

        Raises:
            ConfigError: The log is damaged.
        """
        found, problems = [], []
        for known in latest_states(self.audit()).values():
            if known.stopped is not None:
                continue
            try:
                found.append(self._loaded(known))
            except ConfigError as error:
                problems.append(str(error))
                kept = before.get(known.key)
                if kept is not None and kept.experiment.fingerprint == known.fingerprint:
                    found.append(known.of(kept.experiment))
        return found, problems

    def find(self, key: str, version: int | None = None) -> Running:
        """An experiment in a version, as its last run of it left it.

        Args:
            key: The experiment.
            version: As ``recsys experiment show`` has them; ``None`` for the latest.

        Raises:
            ConfigError: There is none, or see ``all``.
        """
        entries = self.audit()
        latest = latest_states(entries)
        if key not in latest:
            known = ", ".join(sorted(latest)) or "none yet"
            raise ConfigError(f"there is no experiment {key!r}; started were: {known}")
        if version is None:
            return self._loaded(latest[key])
        found = latest_states(each for each in entries if each.version == version).get(key)
        if found is None:
            known = ", ".join(map(str, versions_of(entries, key)))
            raise ConfigError(f"experiment {key!r} has no version {version}; it has: {known}")
        return self._loaded(found)

    def check(self, experiment: Experiment) -> None:
        """See that a definition may start beside what runs.

        Raises:
            ConfigError: It may not; the message says why and what to do.
            BundleError: The models' pointer file is damaged.
        """
        if experiment.unit != "user":
            raise ConfigError(
                f'unit: servers assign users, so expected "user", got {experiment.unit!r}; assign other '
                "units from a file: recsys experiment assign"
            )
        others = self.running()
        mine = next((other for other in others if other.experiment.key == experiment.key), None)
        if mine is not None and mine.experiment.fingerprint == experiment.fingerprint:
            raise ConfigError(f"experiment {experiment.key!r} runs already, as version {mine.version}")
        if mine is not None:
            raise ConfigError(
                f"experiment {experiment.key!r} runs as version {mine.version}, and the definition differs "
                f"in {', '.join(_differences(mine.experiment, experiment))}: an edit would change who gets "
                f"what while it is measured. Stop it first (recsys experiment stop {experiment.key}), then "
                f"start the edited definition as version {mine.version + 1}; coverage alone can be raised "
                f"with recsys experiment ramp {experiment.key}"
            )
        require_models(experiment, self._models)
        check_together([*(other.experiment for other in others), experiment])

    def start(self, text: str, source: str, *, reason: str = "") -> Running:
        """Freeze a definition and let it assign units.

        Args:
            text: The definition, TOML.
            source: Where it comes from, for messages.
            reason: For the audit log.

        Raises:
            ConfigError: The definition is wrong, or may not start beside what runs.
            BundleError: The models' pointer file is damaged.
        """
        experiment = parse_experiment(text, source)
        with exclusive(self.root / _LOCK):
            self.check(experiment)
            version = self._freeze(experiment, text)
            self._append("start", experiment, version, experiment.coverage, reason)
        return self.find(experiment.key)

    def ramp(self, key: str, coverage: float, *, reason: str = "") -> Running:
        """Raise the share of units that take part; nobody changes arms.

        Raises:
            ConfigError: It does not run, or the coverage is not above the present one.
        """
        with exclusive(self.root / _LOCK):
            found = self._require_running(key)
            if found.coverage >= 1:
                raise ConfigError(f"{key} covers all of its units already; there is nothing to ramp")
            if not found.coverage < coverage <= 1:
                raise ConfigError(
                    f"expected a coverage above {found.coverage:g}, up to 1, got {coverage:g}; less would "
                    "take units out of the experiment that were measured already: stop it instead"
                )
            self._append("ramp", found.experiment, found.version, coverage, reason)
        return self.find(key)

    def stop(self, key: str, *, reason: str = "", by: str | None = None) -> Running:
        """End an experiment: everybody gets what everybody else gets.

        Raises:
            ConfigError: It does not run.
        """
        with exclusive(self.root / _LOCK):
            found = self._require_running(key)
            self._append("stop", found.experiment, found.version, None, reason, by=by)
        return self.find(key)

    def force(self, key: str, unit: str, arm: str | None, *, reason: str = "") -> Running:
        """Give one unit an arm by hand, for a look at it; its lists are left out of the analysis.

        Args:
            key: The experiment.
            unit: The unit's id.
            arm: The arm; ``None`` for what the hash says again.
            reason: For the audit log.

        Raises:
            ConfigError: It does not run, or has no such arm.
        """
        with exclusive(self.root / _LOCK):
            found = self._require_running(key)
            require_arm(found.experiment, arm)
            entry = self._entry("force", found.experiment, found.version, None, reason)
            append_audit(self.audit_file, entry.model_copy(update={"unit": unit, "arm": arm}))
        return self.find(key)

    def _require_running(self, key: str) -> Running:
        found = self.find(key)
        if not found.is_running:
            raise ConfigError(
                f"experiment {key!r} does not run: it was stopped at {found.stopped:%F %H:%M} UTC"
            )
        return found

    def _freeze(self, experiment: Experiment, text: str) -> int:
        versions = [int(path.stem) for path in (self.root / experiment.key).glob("[0-9]*.toml")]
        latest = max(versions, default=0)
        if (
            latest
            and load_experiment(self.path(experiment.key, latest)).fingerprint == experiment.fingerprint
        ):
            return latest
        with atomic_path(self.path(experiment.key, latest + 1)) as partial:
            partial.write_text(text, encoding="utf-8")
        return latest + 1

    def _entry(
        self, action: Action, experiment: Experiment, version: int, coverage: float | None, reason: str
    ) -> AuditEntry:
        return AuditEntry(
            time=now(),
            action=action,
            key=experiment.key,
            version=version,
            fingerprint=experiment.fingerprint,
            coverage=coverage,
            reason=reason,
            by=login_name(),
        )

    def _append(
        self,
        action: Action,
        experiment: Experiment,
        version: int,
        coverage: float | None,
        reason: str,
        *,
        by: str | None = None,
    ) -> None:
        entry = self._entry(action, experiment, version, coverage, reason)
        append_audit(self.audit_file, entry if by is None else entry.model_copy(update={"by": by}))

    def _loaded(self, known: Known) -> Running:
        path = self.path(known.key, known.version)
        experiment = load_experiment(path)
        if experiment.fingerprint != known.fingerprint:
            raise ConfigError(
                f"{path} was edited after it started: its hash was {known.fingerprint[:12]} and is "
                f"{experiment.fingerprint[:12]}; restore it, or stop the experiment and start the edit anew"
            )
        return known.of(experiment)


def require_arm(experiment: Experiment, arm: str | None) -> None:
    """See that an experiment has an arm; ``None`` is fine.

    Raises:
        ConfigError: It has not.
    """
    if arm is not None and experiment.arm(arm) is None:
        arms = ", ".join(each.key for each in experiment.arms)
        raise ConfigError(f"expected one of the arms {arms} of {experiment.key!r}, got {arm!r}")


def _differences(before: Experiment, after: Experiment) -> list[str]:
    return [name for name in Experiment.model_fields if getattr(before, name) != getattr(after, name)]
