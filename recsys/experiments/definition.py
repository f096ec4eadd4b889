"""What an operator defines: one experiment, read from a TOML file and checked as a whole.

A definition never changes once it is read; its ``fingerprint`` tells versions apart.
"""

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from recsys.config import PlacementConfig
from recsys.errors import ConfigError
from recsys.experiments.complaint import problems
from recsys.experiments.metric import MetricDefinition
from recsys.experiments.targeting import TargetingError, compile_targeting

HashName = Literal["sha256", "growthbook_v2"]
"""How a unit's place between 0 and 1 is found, see ``recsys.experiments.bucketing``."""
Unit = Literal["user", "visitor", "session"]
"""What is assigned: a ``user`` is a visitor until the login; see ``recsys.experiments.assignment``."""

_NAME = r"^[A-Za-z0-9_.\-]{1,100}$"
_Name = Annotated[str, Field(pattern=_NAME)]
INTERLEAVED = "interleaved"
"""Stands for an arm in the log where a list is of both."""
_WEIGHT_SUM_TOLERANCE = 1e-6


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class Arm(_Table):
    """One of the things that are compared."""

    key: _Name
    weight: float = Field(ge=0, le=1, allow_inf_nan=False)
    """Share of the units that take part; 0 for an arm that gets nobody new."""
    model: str | None = Field(default=None, min_length=1)
    """``stable``, ``canary`` or a version of the registry; absent for whatever serves otherwise."""
    placements: dict[str, dict[str, Any]] = {}
    """Parameters of placements that are replaced, by placement; see ``recsys.config.PlacementConfig``."""
    blurbs: str | None = Field(default=None, min_length=1)
    """Blurb policy; absent for the usual one."""

    @field_validator("placements")
    @classmethod
    def _known_parameters(cls, given: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for placement, parameters in given.items():
            replaced(PlacementConfig(sources=("popular",)), parameters, placement)
        return given


class Analysis(_Table):
    """How the result is judged, fixed before the data."""

    method: Literal["fixed", "always_valid", "group_sequential"] = "fixed"
    """Read once at the end; read at any time; or at ``looks`` planned moments."""
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """Two-sided false positive rate."""
    power: float = Field(default=0.8, gt=0, lt=1)
    """Probability to find ``minimum_effect``."""
    minimum_effect: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Smallest effect worth finding, relative to control: 0.02 for 2 %."""
    expected_units: int | None = Field(default=None, ge=2)
    """Units of all arms together at the planned end."""
    looks: int = Field(default=1, ge=1, le=100)
    """Planned looks of ``group_sequential``, the last one included."""
    spending: Literal["obrien_fleming", "pocock"] = "obrien_fleming"
    """How ``group_sequential`` spends ``alpha`` over its looks."""
    correction: Literal["holm", "benjamini_hochberg", "none"] = "holm"
    """For goal metrics times arms; guardrails are never corrected."""
    window_days: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Days after a unit's first exposure whose events count for it; absent for all until the report."""

    @property
    def keeps_looks(self) -> bool:
        """Whether what may be said depends on earlier readings."""
        return self.method != "always_valid"

    @model_validator(mode="after")
    def _knows_its_size(self) -> "Analysis":
        if self.method != "fixed" and self.expected_units is None:
            raise ValueError(f"expected expected_units for method {self.method!r}, got none")
        return self


class Experiment(_Table):
    """A definition; the defaults are those of an experiment that everybody takes part in."""

    key: _Name
    hypothesis: str = Field(default="", max_length=2000)
    unit: Unit = "user"
    hash: HashName = "sha256"
    salt: _Name = ""
    """Seed of the arms; ``key`` when absent. Equal salts give equal arms: a repetition wants another."""
    layer: _Name = ""
    """Experiments of a layer share its units without overlap; ``key`` when absent, a layer of its own."""
    layer_range: Annotated[tuple[float, float], Field(strict=False)] = (0.0, 1.0)
    """Part of the layer: from, inclusive, to, exclusive; within 0 and 1."""
    coverage: float = Field(default=1.0, ge=0, le=1, allow_inf_nan=False)
    """Share of every arm's units that take part at the start; ``recsys experiment ramp`` raises it."""
    targeting: str = ""
    """Whom it is for, see ``recsys.experiments.targeting``; empty for everybody."""
    holdout: bool = False
    """Whether units of the control arm are kept out of every other experiment."""
    placements: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Where lists count as exposed; empty for those that an arm changes."""
    interleave: bool = False
    """Whether every list is drafted from both arms' models (team draft) and clicks decide between these; see
    ``recsys experiment preference``."""
    arms: Annotated[tuple[Arm, ...], Field(strict=False, min_length=2, max_length=20)]
    metrics: Annotated[tuple[MetricDefinition, ...], Field(strict=False, min_length=1)]
    analysis: Analysis = Analysis()

    @model_validator(mode="before")
    @classmethod
    def _fill_names(cls, given: object) -> object:
        if isinstance(given, dict) and isinstance(given.get("key"), str):
            return {"salt": given["key"], "layer": given["key"], **given}
        return given

    @field_validator("layer_range")
    @classmethod
    def _is_a_range(cls, given: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= given[0] < given[1] <= 1:
            raise ValueError(f"expected 0 <= from < to <= 1, got {list(given)}")
        return given

    @field_validator("targeting")
    @classmethod
    def _readable(cls, given: str) -> str:
        try:
            compile_targeting(given)
        except TargetingError as error:
            raise ValueError(str(error)) from None
        return given

    @field_validator("arms")
    @classmethod
    def _share_everything(cls, given: tuple[Arm, ...]) -> tuple[Arm, ...]:
        _require_distinct("arm keys", [arm.key for arm in given])
        total = math.fsum(arm.weight for arm in given)
        if abs(total - 1) > _WEIGHT_SUM_TOLERANCE:
            weights = ", ".join(f"{arm.key} = {arm.weight:g}" for arm in given)
            raise ValueError(f"expected weights that sum to 1, got {weights}, which sum to {total:g}")
        return given

    @field_validator("metrics")
    @classmethod
    def _one_decides(cls, given: tuple[MetricDefinition, ...]) -> tuple[MetricDefinition, ...]:
        _require_distinct("metric names", [metric.name for metric in given])
        primary = [metric.name for metric in given if metric.role == "primary"]
        if len(primary) != 1:
            raise ValueError(
                f'expected exactly one metric with role = "primary", got {", ".join(primary) or "none"}'
            )
        return given

    @model_validator(mode="after")
    def _interleaves_two_models(self) -> "Experiment":
        if not self.interleave:
            return self
        models = [arm.model or "stable" for arm in self.arms]
        if len(set(models)) != 2 or len(models) != 2 or self.holdout:
            given = ", ".join(models)
            raise ValueError(f"expected two arms with different models to interleave, got {given}")
        if any(arm.placements or arm.blurbs for arm in self.arms):
            raise ValueError("expected arms that differ in their model alone to interleave")
        if self.analysis.method == "group_sequential":
            raise ValueError(
                "expected analysis.method 'fixed' or 'always_valid' to interleave, got 'group_sequential': "
                "nobody keeps a book of these looks"
            )
        return self

    @model_validator(mode="after")
    def _holdout_changes_nothing(self) -> "Experiment":
        changed = [arm.key for arm in self.arms if arm.model or arm.placements or arm.blurbs]
        if self.holdout and changed:
            raise ValueError(
                f"expected arms without overrides for a holdout, got some in {', '.join(changed)}"
            )
        return self

    @property
    def control(self) -> Arm:
        """The arm keyed ``control``, else the first."""
        return next((arm for arm in self.arms if arm.key == "control"), self.arms[0])

    @property
    def primary(self) -> MetricDefinition:
        """The metric that decides."""
        return next(metric for metric in self.metrics if metric.role == "primary")

    def arm(self, key: str) -> Arm | None:
        """The arm of a key."""
        return next((arm for arm in self.arms if arm.key == key), None)

    @property
    def changes(self) -> frozenset[str]:
        """What its arms replace: ``model``, ``blurbs``, and parameters such as ``home.diversity``."""
        models = {"model"} if any(arm.model for arm in self.arms) else set()
        blurbs = {"blurbs"} if any(arm.blurbs for arm in self.arms) else set()
        parameters = {
            f"{placement}.{name}"
            for arm in self.arms
            for placement, replacing in arm.placements.items()
            for name in replacing
        }
        return frozenset(models | blurbs | parameters)

    @property
    def exposed_placements(self) -> frozenset[str] | None:
        """Where lists may differ between its arms, and so count as exposures; ``None`` for everywhere.

        The same for every arm, so that control is exposed exactly where treatment is.
        """
        if self.placements:
            return frozenset(self.placements)
        everywhere = self.changes & {"model", "blurbs"} or not self.changes
        return None if everywhere else frozenset(name.split(".")[0] for name in self.changes)

    @property
    def fingerprint(self) -> str:
        """Hash of everything that is defined, in hexadecimal; comments and layout do not count."""
        defined = json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(defined.encode()).hexdigest()


def replaced(placement: PlacementConfig, parameters: Mapping[str, Any], name: str) -> PlacementConfig:
    """A placement with some of its parameters replaced.

    Args:
        placement: The placement.
        parameters: By name, as in TOML.
        name: The placement's name, for messages.

    Raises:
        ValueError: A parameter is not known or does not fit, or says what a request has to bring.
    """
    if "starts_from" in parameters:
        raise ValueError(f"{name}.starts_from: expected no such key, clients would have to know of it")
    try:
        return PlacementConfig.model_validate(placement.model_dump() | dict(parameters))
    except ValidationError as error:
        raise ValueError("; ".join(f"{name}.{words}" for words in problems(error))) from None


def parse_experiment(text: str, source: str) -> Experiment:
    """Read a definition.

    Args:
        text: TOML.
        source: Where it comes from, for messages.

    Raises:
        ConfigError: It is not TOML, or a key is wrong; every wrong key is named with what was expected and
            what came.
    """
    try:
        return Experiment.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is not valid TOML: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"{source} is no experiment: {'; '.join(problems(error))}") from None


def load_experiment(path: Path) -> Experiment:
    """Read a definition's file.

    Raises:
        ConfigError: It cannot be read, or see ``parse_experiment``.
    """
    return parse_experiment(definition_text(path), str(path))


def definition_text(path: Path) -> str:
    """The words of a definition's file.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the definition {path} cannot be read: {error}") from error


def _require_distinct(what: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"expected distinct {what}, got {', '.join(twice)} more than once")
