"""What experiments make of a request: by which id it is assigned, which model answers, and how."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from recsys.config import PlacementConfig
from recsys.errors import ConfigError, FieldViolation, InvalidRequestError
from recsys.experiments.assignment import Assignment
from recsys.experiments.book import UNTREATED, ExperimentBook, Treatment
from serving.event import subject
from serving.interleaved import Interleaved
from serving.models import Models
from serving.origins import Origins
from serving.ranking_pipeline import RankingPipeline
from serving.substitutions import Substitutions

_MOST_KEPT = 1000


@dataclass(frozen=True, eq=False)
class Chosen:
    """Who answers a request, and as what."""

    pipeline: RankingPipeline
    treatment: Treatment = UNTREATED
    parameters: PlacementConfig | None = None
    """The placement where the treatment changes it; ``None`` for as configured."""
    drafted: Interleaved | None = None
    """Makes the list where the treatment interleaves two models."""


class Treatments:
    """Chooses for every request; all methods are for the event loop's thread, but ``use_book``."""

    def __init__(self, models: Models, origins: Origins) -> None:
        self._models = models
        self._origins = origins
        self.book = ExperimentBook()
        """The experiments that run."""
        self.substitutions = Substitutions()
        self._placed: dict[tuple[object, ...], PlacementConfig | None] = {}

    def use_book(self, book: ExperimentBook) -> None:
        """Assign by these experiments from the next request on."""
        self.book, self._placed = book, {}

    async def choose(
        self,
        user_id: str,
        visitor_id: str,
        placement: str,
        attributes: Mapping[str, str],
        *,
        ranks_only: bool = False,
    ) -> Chosen:
        """Who answers a request.

        Args:
            user_id: Of the request, or empty.
            visitor_id: Of the request, or empty.
            placement: Of the request.
            attributes: Of the request.
            ranks_only: Whether the request brings its own items.

        Raises:
            InvalidRequestError: The attributes ask for an arm that a running experiment does not have.
        """
        treatment = UNTREATED
        unit = await self._origins.unit(user_id, visitor_id) if self.book else None
        book = self.book  # the wait may have brought another
        if unit is not None:
            try:
                treatment = book.treatment(unit, placement, attributes, ranks_only=ranks_only)
            except ConfigError as error:
                raise _refused(error) from None
        if treatment.model is None:
            pipeline = self._models.choose(subject(user_id, visitor_id))
            return Chosen(pipeline, treatment, self._parameters(treatment, pipeline, placement))
        pipeline, treatment = self._named(treatment.model, treatment)
        drafted, interleaving = None, treatment.interleaving
        if interleaving is not None:
            other, treatment = self._named(interleaving.model_b, treatment)
            if not treatment.substituted:  # else it would compare a model that nobody asked for
                drafted = Interleaved(pipeline, other, interleaving)
        return Chosen(pipeline, treatment, self._parameters(treatment, pipeline, placement), drafted)

    async def assignments(
        self, user_id: str, visitor_id: str, attributes: Mapping[str, str]
    ) -> tuple[Assignment, ...]:
        """The arms that somebody gets, wherever they matter; see ``choose``."""
        unit = await self._origins.unit(user_id, visitor_id) if self.book else None
        if unit is None:
            return ()
        try:
            return self.book.assignments(unit, attributes)
        except ConfigError as error:
            raise _refused(error) from None

    def _named(self, model: str, treatment: Treatment) -> tuple[RankingPipeline, Treatment]:
        """The model that a treatment names; the stable one and a note of that, where it is not in memory."""
        found = self._models.named(model)
        if found is not None:
            return found, treatment
        self.substitutions.note(treatment.model_of, model)
        return self._models.stable, replace(treatment, substituted=(treatment.model_of,))

    def _parameters(
        self, treatment: Treatment, pipeline: RankingPipeline, placement: str
    ) -> PlacementConfig | None:
        configured = pipeline.config.placements.get(placement)
        if not treatment.parameters or configured is None:
            return None
        key = (treatment.arms, treatment.record.versions, pipeline.version, placement)
        if key not in self._placed:
            if len(self._placed) >= _MOST_KEPT:
                self._placed.clear()
            self._placed[key] = treatment.placed(configured, placement)
        return self._placed[key]


def _refused(error: ConfigError) -> InvalidRequestError:
    """A request asked for an arm that there is not."""
    return InvalidRequestError(FieldViolation("attributes", str(error)))
