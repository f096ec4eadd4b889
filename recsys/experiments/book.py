"""The experiments that run now, as every request meets them: who gets what, and what of it is exposed.

Holdouts come first: a unit that one of them keeps out takes part in no other experiment. An arm given by
hand, in the registry or in the request's attribute ``experiment.KEY``, goes before everything and is marked,
so that the analysis leaves it out.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from recsys.config import PlacementConfig
from recsys.experiments.arm_record import NO_ARMS, ArmRecord
from recsys.experiments.assignment import Assignment
from recsys.experiments.bucketing import arm_placer, layer_placer
from recsys.experiments.definition import INTERLEAVED, Arm, Experiment, replaced
from recsys.experiments.history import Running
from recsys.experiments.registry import require_arm
from recsys.experiments.targeting import compile_targeting

FORCED_ATTRIBUTE = "experiment."
"""A request's attribute of this name and an experiment's key names the arm to give, for testers."""
STABLE = "stable"
"""Model of the arms that name none, where another arm of the experiment does."""


@dataclass(frozen=True)
class Interleaving:
    """Two models whose lists are drafted into one."""

    experiment: str
    """Its key."""
    salt: str
    model_b: str
    """Of the second arm; the first arm's is the treatment's ``model``."""


@dataclass(frozen=True)
class Treatment:
    """What one request gets from all experiments together."""

    assignments: tuple[Assignment, ...] = ()
    """The experiments that may change this request's list; these are its exposures."""
    model: str | None = None
    """``stable``, ``canary`` or a version; ``None`` for whatever serves."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the placement that are replaced."""
    blurbs: str | None = None
    """Blurb policy; ``None`` for the usual one."""
    interleaving: Interleaving | None = None
    """With which other model the list is drafted; ``None`` for one model's list."""
    model_of: str = ""
    """Key of the experiment that names ``model``."""
    substituted: tuple[str, ...] = ()
    """Experiments whose model is not in memory, so that another one answers."""

    @property
    def arms(self) -> tuple[tuple[str, str], ...]:
        """Pairs of experiment and arm."""
        return tuple([(each.experiment, each.arm) for each in self.assignments])

    @property
    def forced(self) -> tuple[str, ...]:
        """Experiments whose arm was given by hand."""
        return tuple([each.experiment for each in self.assignments if each.forced])

    @property
    def record(self) -> ArmRecord:
        """What the list says of all this."""
        if not self.assignments:
            return NO_ARMS
        versions = tuple([each.version for each in self.assignments])
        return ArmRecord(self.arms, versions, self.forced, self.substituted)

    def placed(self, configured: PlacementConfig, name: str) -> PlacementConfig | None:
        """The placement with its parameters replaced; ``None`` where nothing is."""
        return replaced(configured, self.parameters, name) if self.parameters else None


UNTREATED = Treatment()
"""Of a request that no experiment concerns."""


class ExperimentBook:
    """Running experiments, ready to assign; it never changes."""

    def __init__(self, running: Iterable[Running] = ()) -> None:
        found = sorted(running, key=lambda each: (not each.experiment.holdout, each.experiment.key))
        self.running = tuple(found)
        """Holdouts first, then by key."""
        self._pages = tuple(map(_Page, found))

    def __bool__(self) -> bool:
        return bool(self._pages)

    @property
    def models(self) -> frozenset[str]:
        """Models that arms name."""
        arms = (arm for page in self._pages for arm in page.experiment.arms)
        return frozenset(arm.model for arm in arms if arm.model is not None)

    def treatment(
        self, unit: str, placement: str, attributes: Mapping[str, str], *, ranks_only: bool = False
    ) -> Treatment:
        """What a request gets.

        Args:
            unit: Who asks.
            placement: Of the request.
            attributes: Of the request.
            ranks_only: Whether the request brings its own items, so that only another model or blurb policy
                matters.

        Raises:
            ConfigError: The request's attributes ask for an arm that a running experiment does not have.
        """
        met = [
            (page, arm, forced)
            for page, arm, forced in self._parts(unit, attributes)
            if page.concerns(placement, ranks_only=ranks_only)
        ]
        return _treatment(met, placement) if met else UNTREATED

    def assignments(self, unit: str, attributes: Mapping[str, str]) -> tuple[Assignment, ...]:
        """A unit's arms, wherever they matter; see ``treatment``."""
        return tuple(
            Assignment(page.experiment.key, arm.key, forced, page.version)
            for page, arm, forced in self._parts(unit, attributes)
        )

    def _parts(self, unit: str, attributes: Mapping[str, str]) -> Iterator[tuple["_Page", Arm, bool]]:
        held_out = False
        for page in self._pages:
            arm, forced = page.arm(unit, attributes, by_hash=not held_out)
            if arm is not None:
                held_out |= page.experiment.holdout and arm is page.experiment.control
                yield page, arm, forced


class _Page:
    """One experiment with everything worked out that does not depend on the request."""

    def __init__(self, running: Running) -> None:
        experiment = self.experiment = running.experiment
        self.version = running.version
        self._forced = running.forced
        self._attribute = FORCED_ATTRIBUTE + experiment.key
        self._targeted = compile_targeting(experiment.targeting) if experiment.targeting.strip() else None
        self._place, self._layer_place = arm_placer(experiment), layer_placer(experiment)
        self._low, self._high = experiment.layer_range
        self._whole_layer = experiment.layer_range == (0.0, 1.0)
        starts = [0.0, *accumulate(arm.weight for arm in experiment.arms)]
        self._stretches = [
            (start, start + running.coverage * arm.weight, arm)
            for start, arm in zip(starts, experiment.arms, strict=False)
        ]
        self._placements = experiment.exposed_placements
        self.changes_model = "model" in experiment.changes
        self._also_ranks = not experiment.changes or bool(experiment.changes & {"model", "blurbs"})

    def arm(self, unit: str, attributes: Mapping[str, str], *, by_hash: bool) -> tuple[Arm | None, bool]:
        """The unit's arm, and whether it was given by hand."""
        given = attributes.get(self._attribute) or self._forced.get(unit)
        if given is not None:
            require_arm(self.experiment, given)
            return self.experiment.arm(given), True
        return (self._hashed(unit, attributes) if by_hash else None), False

    def concerns(self, placement: str, *, ranks_only: bool) -> bool:
        """Whether the experiment may change a list of this placement."""
        if ranks_only and not self._also_ranks:
            return False
        return self._placements is None or placement in self._placements

    def _hashed(self, unit: str, attributes: Mapping[str, str]) -> Arm | None:
        if self._targeted is not None and not self._targeted(attributes):
            return None
        if not self._whole_layer and not self._low <= self._layer_place(unit) < self._high:
            return None
        place = self._place(unit)
        for start, end, arm in self._stretches:
            if start <= place < end:
                return arm
        return None


def _treatment(met: Sequence[tuple[_Page, Arm, bool]], placement: str) -> Treatment:
    parameters: dict[str, Any] = {}
    model = blurbs = interleaving = None
    model_of = ""
    for page, arm, forced in met:
        parameters |= arm.placements.get(placement, {})
        blurbs = arm.blurbs or blurbs
        if page.changes_model:
            model, model_of = arm.model or STABLE, page.experiment.key
        if page.experiment.interleave and not forced:
            first, second = page.experiment.arms
            model = first.model or STABLE
            interleaving = Interleaving(page.experiment.key, page.experiment.salt, second.model or STABLE)
    assignments = tuple(
        [
            Assignment(
                page.experiment.key, _shown_arm(page.experiment, arm, forced=forced), forced, page.version
            )
            for page, arm, forced in met
        ]
    )
    return Treatment(assignments, model, parameters, blurbs, interleaving, model_of)


def _shown_arm(experiment: Experiment, arm: Arm, *, forced: bool) -> str:
    return INTERLEAVED if experiment.interleave and not forced else arm.key
