"""Where a diagnosis stands: a pipeline at a moment of the log, and the users' states then."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import Enum

import polars as pl

from features.log import require_fitted_before
from features.states import states_at
from recsys.answer import Contribution, Query, RankedItem
from recsys.event_log import EventLog
from recsys.log_presence import require_events
from recsys.pipeline import Pipeline
from recsys.schema import AS_OF, USER_ID
from recsys.timestamps import utc
from recsys.workspace import Workspace
from serving.loading import load_pipeline


@dataclass(frozen=True)
class JsonDocument:
    """What can be written as JSON: dataclasses and plain values, all the way down."""

    def to_json(self) -> str:
        """One JSON document: times in ISO 8601, numbers that are none as null."""
        return json.dumps(_plain(asdict(self)), indent=1, allow_nan=False)


@dataclass(frozen=True, eq=False)
class Standing:
    """A pipeline at a moment."""

    log: EventLog
    pipeline: Pipeline
    as_of_ms: int

    @classmethod
    def of(cls, workspace: Workspace, at_ms: int | None) -> "Standing":
        """Stand at a moment, or at the end of the log.

        Raises:
            BundleError: No bundle has been trained, or it does not verify.
            DataError: There are no events.
            LeakageError: The bundle was fitted on events later than the moment.
        """
        log = EventLog(workspace.events)
        as_of_ms = at_ms if at_ms is not None else (log.end_ms() or 0) + 1
        pipeline = load_pipeline(workspace, at_ms=as_of_ms)
        require_events(workspace)
        fitted_until_ms = pipeline.bundle.manifest.fitted_until_ms
        require_fitted_before(f"bundle {pipeline.version}", fitted_until_ms, as_of_ms)
        return cls(log, pipeline, as_of_ms)

    @property
    def as_of(self) -> datetime:
        """The moment, in UTC."""
        return utc(self.as_of_ms)

    @property
    def num_items(self) -> int:
        """Items of the catalogue: the limit of a list that nothing cuts off."""
        return len(self.pipeline.bundle.parts.catalogue)

    def item_id(self, position: int) -> str:
        """Id of an item by catalogue position."""
        return self.pipeline.bundle.parts.catalogue.item_ids[position]

    def queries(self, user_ids: list[str], placement: str, context: tuple[str, ...] = ()) -> list[Query]:
        """What these users would ask, in the order given."""
        asked = pl.DataFrame({USER_ID: user_ids}, schema={USER_ID: pl.String})
        states = states_at(
            self.log.scan(),
            asked.with_columns(pl.lit(self.as_of_ms, pl.Int64).alias(AS_OF)),
            self.pipeline.bundle.parts.catalogue,
            self.pipeline.config,
        )
        return [
            Query(as_of_ms=self.as_of_ms, user=state, placement=placement, context_item_ids=context)
            for _, state in states
        ]


@dataclass(frozen=True)
class Place:
    """An item's place in a list."""

    rank: int
    """From 1."""
    item_id: str
    title: str
    score: float
    sources: tuple[str, ...]
    reasons: tuple[str, ...]
    contributions: tuple[Contribution, ...]
    """Those that moved the score most, greatest first."""

    @classmethod
    def of(cls, rank: int, item: RankedItem, title: str, limit: int) -> "Place":
        """Describe a ranked item by at most ``limit`` contributions."""
        all_of_them = item.explanation.contributions if item.explanation else ()
        strongest = sorted(all_of_them, key=lambda c: -abs(c.contribution))[:limit]
        return cls(rank, item.item_id, title, item.score, item.sources, item.reasons, tuple(strongest))


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
