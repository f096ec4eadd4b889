"""Which model users prefer, from the lists that a server drafted from two and what was clicked on them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from recsys.errors import DataError
from recsys.event_log import EventLog
from recsys.experiments.definition import Analysis
from recsys.experiments.drafted_log import MODEL_A, MODEL_B, DraftedLog, read_drafts
from recsys.experiments.exposures import scan_served_lists
from recsys.experiments.one_sample import is_planned
from recsys.experiments.preference import Preference, preference
from recsys.experiments.registry import ExperimentRegistry
from recsys.experiments.repeated_lists import once_per_call
from recsys.experiments.version_scope import VERSION
from recsys.schema import EFFECTIVE_TIME, EVENT_TYPE, ITEM_ID, LIST_ID, SERVED_TIME, TIMESTAMP, USER_ID
from recsys.workspace import Workspace

_PAIR = [MODEL_A, MODEL_B]


@dataclass(frozen=True)
class PairPreference:
    """Two models under one version of an experiment."""

    version: int | None
    """``None`` where lists do not say, and the registry knows of several that it may have been."""
    model_a: str
    """Version of the first arm's model."""
    model_b: str
    first: datetime
    """When the first of its lists was served, UTC."""
    last: datetime
    found: Preference

    def document(self) -> dict[str, Any]:
        """As plain values."""
        about = {"version": self.version, "model_a": self.model_a, "model_b": self.model_b}
        served = {"first": self.first.isoformat(), "last": self.last.isoformat()}
        return about | served | self.found.document()


@dataclass(frozen=True)
class ServedPreference:
    """What the clicks on an experiment's drafted lists say."""

    experiment: str
    """Its key."""
    event_type: str
    """What was credited."""
    rows: tuple[PairPreference, ...]
    """One per version and pair of models, in order of time."""
    pooled: Preference | None
    """Of all lists together; ``None`` where they compare different models, which nothing can be said of."""
    num_degraded: int
    """Lists that were left out since a model's own did not go through the whole pipeline."""
    num_of_one_model: int
    """Lists that were left out since one model made them alone."""
    num_anonymous: int
    """Lists that were left out since they were for nobody in particular."""

    @property
    def left_out(self) -> dict[str, int]:
        """Lists that do not count, by reason."""
        return {
            "degraded": self.num_degraded,
            "one_model": self.num_of_one_model,
            "anonymous": self.num_anonymous,
        }

    def document(self) -> dict[str, Any]:
        """As plain values: the pooled numbers, if any, beside ``rows`` and ``left_out``."""
        whole = {"verdict": "undecided"} if self.pooled is None else self.pooled.document()
        about = {"experiment": self.experiment, "event": self.event_type, "pooled": self.pooled is not None}
        return about | whole | {"rows": [row.document() for row in self.rows], "left_out": self.left_out}


def served_preference(
    workspace: Workspace,
    key: str,
    *,
    event_type: str = "click",
    version: int | None = None,
    until: datetime | None = None,
) -> ServedPreference:
    """Credit the events on an experiment's interleaved lists, first pages alone.

    Args:
        workspace: The workspace.
        key: The experiment, one with ``interleave = true``.
        event_type: What is credited.
        version: Whose lists count; ``None`` for all that were interleaved, each apart.
        until: What happened before this moment; ``None`` for the whole log.

    Raises:
        ConfigError: There is no such experiment or version, or the registry's audit log is damaged.
        DataError: There are no such lists.
    """
    served, events = once_per_call(scan_served_lists(workspace)), EventLog(workspace.events).scan()
    if until is not None:
        served = served.filter(pl.col(SERVED_TIME) < pl.lit(until).cast(TIMESTAMP))
        events = events.filter(pl.col(EFFECTIVE_TIME) < pl.lit(until).cast(TIMESTAMP))
    registry = ExperimentRegistry(workspace)
    latest = registry.find(key, version).experiment.analysis
    drafts = read_drafts(served, key, registry.audit(), version)
    if drafts.lists.is_empty():
        raise DataError(_nothing(key, version, drafts))
    clicks = events.filter(pl.col(EVENT_TYPE) == event_type)
    clicked = clicks.select(LIST_ID, ITEM_ID, EFFECTIVE_TIME).drop_nulls().collect()
    rows = [
        _pair(part, clicked, registry.find(key, of_version[0]).experiment.analysis)
        for of_version, part in drafts.lists.group_by(VERSION, *_PAIR, maintain_order=True)
    ]
    same = drafts.lists.select(_PAIR).n_unique() == 1
    return ServedPreference(
        key,
        event_type,
        tuple(rows),
        _preferred(drafts.lists, clicked, latest) if same else None,
        drafts.num_degraded,
        drafts.num_of_one_model,
        drafts.num_anonymous,
    )


def _pair(lists: pl.DataFrame, clicks: pl.DataFrame, analysis: Analysis) -> PairPreference:
    version, model_a, model_b = lists.select(VERSION, *_PAIR).row(0)
    times = lists[SERVED_TIME].to_list()
    found = _preferred(lists, clicks, analysis)
    return PairPreference(version, model_a, model_b, min(times), max(times), found)


def _preferred(lists: pl.DataFrame, clicks: pl.DataFrame, analysis: Analysis) -> Preference:
    """The preference, of a test with a plan as of the moment when its last planned user came.

    So whoever reads it later reads the same again, and not another look at more data.
    """
    if is_planned(analysis):
        came = lists.group_by(USER_ID).agg(pl.col(SERVED_TIME).min())[SERVED_TIME].sort()
        planned = analysis.expected_units or 0
        if len(came) >= planned:
            end = came[planned - 1]
            lists = lists.filter(pl.col(SERVED_TIME) <= end)
            clicks = clicks.filter(pl.col(EFFECTIVE_TIME) <= end)
    return preference(lists, clicks, analysis)


def _nothing(key: str, version: int | None, drafts: DraftedLog) -> str:
    which = f"experiment {key!r}" if version is None else f"version {version} of experiment {key!r}"
    return (
        f"no interleaved list of {which} was served to anybody whom it could tell of; expected a running "
        "experiment with interleave = true, both of its models in memory, and lists that were exported to "
        f"served_lists/. Left out are {drafts.num_degraded:,} lists with a model that answered less than "
        f"fully, {drafts.num_of_one_model:,} of one model alone and {drafts.num_anonymous:,} for nobody"
    )
