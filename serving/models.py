"""The models in memory: which one serves, which one a share of the users get, and which one scores along.

One object answers each request: ``Models.choose`` is asked once, at its start. A swap replaces one reference,
so requests that are under way end with the model that they began with. Every model here counts events, the
previous one too, so that going back to it takes no time and loses nothing.

All methods are for the event loop's thread, except ``choose``, ``find``, ``use_rules`` and reading
``lineup``.
"""

import hashlib
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field, replace

from recsys.influence import Influence
from recsys.registry import PARTS, Pointers
from recsys.rules import Rule
from serving.event import BufferedEvent
from serving.ranking_pipeline import RankingPipeline


@dataclass(eq=False)
class Model:
    """A pipeline, and how far it has counted the buffer's events."""

    pipeline: RankingPipeline
    counted: int = 0
    """Sequence number of the last event in the pipeline's item aggregates; all below it are there too."""
    influence: Influence = field(init=False)
    """Which events count."""

    def __post_init__(self) -> None:
        self.influence = Influence(self.pipeline.config.state)

    def count(self, events: Sequence[BufferedEvent]) -> None:
        """Count those of some events, ascending by sequence number, that are not counted yet."""
        for buffered in events:
            if buffered.sequence > self.counted:
                event = buffered.event
                act = event.user_id, event.item_id, event.event_type, event.received_time
                if buffered.merge is None and self.influence.counts(*act):
                    self.pipeline.record(event.item_id, event.type_code, event.effective_ms)
                self.counted = buffered.sequence


@dataclass(frozen=True, eq=False)
class Lineup:
    """Who plays which part; it never changes, a swap makes another one."""

    stable: Model
    canary: Model | None = None
    shadow: Model | None = None
    previous: Model | None = None
    canary_percent: float = 0.0
    """Share of the users whom the canary answers, in percent."""
    standby: tuple[Model, ...] = ()
    """Models that are about to play a part."""

    def models(self) -> Iterator[Model]:
        """Every model once."""
        playing = (getattr(self, part) for part in PARTS)
        present = [model for model in (*playing, *self.standby) if model is not None]
        yield from {id(model): model for model in present}.values()


class Models:
    """The models of one server process."""

    def __init__(self, stable: Model) -> None:
        self.lineup = Lineup(stable)

    @property
    def stable(self) -> RankingPipeline:
        """The pipeline that serves now; a request that needs one twice asks once."""
        return self.lineup.stable.pipeline

    def choose(self, subject: str | None) -> RankingPipeline:
        """The pipeline that answers somebody, the same one as long as the pointers stay.

        Args:
            subject: Who asks, see ``serving.event.subject``; nobody in particular gets the stable one.
        """
        lineup = self.lineup
        if lineup.canary is None or subject is None:
            return lineup.stable.pipeline
        canary = lineup.canary.pipeline
        chosen = place_of(subject, canary.version) * 100 < lineup.canary_percent
        return canary if chosen else lineup.stable.pipeline

    def named(self, name: str) -> RankingPipeline | None:
        """The pipeline of a version, or of the part ``stable`` or ``canary``; ``None`` without one.

        It may not be in memory, or nobody may play the part.
        """
        lineup = self.lineup
        if name == "stable":
            return lineup.stable.pipeline
        model = lineup.canary if name == "canary" else self.find(name)
        return None if model is None else model.pipeline

    def find(self, version: str) -> Model | None:
        """The model of a version, where it is in memory."""
        return next((model for model in self.lineup.models() if model.pipeline.version == version), None)

    def all(self) -> list[RankingPipeline]:
        """Every pipeline that answers, or may again."""
        return [model.pipeline for model in self.lineup.models()]

    def items(self, item_ids: Sequence[str]) -> list[dict[str, object]]:
        """Catalogue rows of the items that the stable model knows."""
        return self.stable.items(item_ids)

    def knows_item(self, item_id: str) -> bool:
        """Whether the catalogue of a model that answers holds an item."""
        lineup = self.lineup
        answering = (lineup.stable, lineup.canary)
        return any(model is not None and model.pipeline.knows_item(item_id) for model in answering)

    @property
    def counted(self) -> int:
        """Sequence number up to which every model has counted."""
        return min(model.counted for model in self.lineup.models())

    def count(self, events: Sequence[BufferedEvent]) -> None:
        """Let every model count events, ascending by sequence number."""
        for model in self.lineup.models():
            model.count(events)

    def use_rules(self, rules: Sequence[Rule]) -> None:
        """Let every model apply these business rules instead of those so far."""
        for model in self.lineup.models():
            model.pipeline.use_rules(rules)

    def replace(self, old: RankingPipeline, new: RankingPipeline) -> bool:
        """Put a pipeline in another's place, in every part that it plays; for a catalogue that changed.

        Args:
            old: The pipeline that plays a part now.
            new: One of the same version, which has counted exactly the events that the old one has.

        Returns:
            Whether the old one was still there.
        """
        found = next((model for model in self.lineup.models() if model.pipeline is old), None)
        if found is None:
            return False
        successor = Model(new, found.counted)
        successor.influence = found.influence
        before = self.lineup

        def now(model: Model | None) -> Model | None:
            return successor if model is found else model

        self.lineup = replace(
            before,
            stable=now(before.stable) or before.stable,
            canary=now(before.canary),
            shadow=now(before.shadow),
            previous=now(before.previous),
            standby=tuple(successor if model is found else model for model in before.standby),
        )
        return True

    def arrange(self, pointers: Pointers, loaded: dict[str, Model], keep: Set[str] = frozenset()) -> None:
        """Give every part to the model that the pointers name, as far as it is loaded.

        A stable version that is not loaded leaves the old one serving; of the parts that nobody has to play,
        one whose model is not loaded is empty.

        Args:
            pointers: What the registry says.
            loaded: Models by version; those that play no part are let go.
            keep: Versions to hold on to nevertheless.
        """

        def at(version: str | None) -> Model | None:
            return loaded.get(version) if version is not None else None

        canary = at(pointers.canary)
        self.lineup = Lineup(
            stable=at(pointers.stable) or self.lineup.stable,
            canary=canary,
            shadow=at(pointers.shadow),
            previous=at(pointers.previous),
            canary_percent=pointers.canary_percent if canary is not None else 0.0,
            standby=tuple(model for version, model in loaded.items() if version in keep),
        )


def place_of(subject: str, salt: str) -> float:
    """Where somebody stands between 0 and 1, evenly spread and independent from salt to salt.

    >>> place_of("u1", "a") == place_of("u1", "a") != place_of("u1", "b")
    True
    """
    digest = hashlib.sha256(f"{salt}\n{subject}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64
