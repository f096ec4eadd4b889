"""Why a user's list is as it is."""

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from recsys.answer import RankedList, ServiceLevel
from recsys.candidates import SOURCE_NAMES
from recsys.gathered import Inspection
from recsys.pipeline import Pipeline
from recsys.schema import ITEM_ID, TITLE
from recsys.workspace import Workspace
from serving.diagnosis.history import UserHistory, user_history
from serving.diagnosis.standing import JsonDocument, Place, Standing

_NUM_CONTRIBUTIONS = 5
_IMPERSONAL = {"popular", "adopted"}
_LEVELS = {
    ServiceLevel.NO_RANKER: "in the order of the sources, because the ranker did not answer",
    ServiceLevel.NO_PERSONAL: "made from the context alone",
    ServiceLevel.POPULAR: "popular items, the same for everybody",
}


@dataclass(frozen=True)
class SourceCount:
    """What a candidate source offered."""

    source: str
    offered: int
    left: int
    """Of these, how many pass every filter."""


@dataclass(frozen=True)
class UserDiagnosis(JsonDocument):
    """What is known of a user at a moment, and the list that follows from it."""

    user_id: str
    as_of: datetime
    placement: str
    model_version: str
    history: UserHistory
    num_read_items: int
    """Items of the history that candidates and features read."""
    sources: tuple[SourceCount, ...]
    removed: dict[str, int]
    """Candidates that each filter takes out, by the filter's name; one candidate may fail several."""
    num_candidates: int
    """Distinct items that the sources offered."""
    num_left: int
    """Of these, how many pass every filter."""
    service_level: ServiceLevel
    degraded_reasons: tuple[str, ...]
    missing_item_ids: tuple[str, ...]
    """Context items that the catalogue does not hold."""
    top: tuple[Place, ...]
    findings: tuple[str, ...]
    """The same in words, what matters most first."""


def diagnose_user(
    workspace: Workspace,
    user_id: str,
    *,
    at_ms: int | None = None,
    placement: str = "home",
    context_item_ids: tuple[str, ...] = (),
    novel: bool = False,
    limit: int = 10,
) -> UserDiagnosis:
    """Ask the log and the pipeline about one user.

    Args:
        workspace: The workspace.
        user_id: The user, who need not be known.
        at_ms: The moment, milliseconds since the epoch; the end of the log when absent.
        placement: A placement of the bundle's configuration.
        context_item_ids: For a placement that starts from items.
        novel: Leave out what the user had before.
        limit: Places of the list to show.

    Raises:
        BundleError: No bundle has been trained, or it does not verify.
        ConfigError: The placement is not configured.
        LeakageError: The bundle was fitted on events later than the moment.
    """
    standing = Standing.of(workspace, at_ms)
    pipeline = standing.pipeline
    [asked] = standing.queries([user_id], placement, context_item_ids)
    query = replace(asked, novel=novel, limit=limit, explain=True)
    inspection, ranked = pipeline.inspect(query), pipeline.recommend(query)
    catalogue, state = pipeline.bundle.parts.catalogue, pipeline.config.state
    history = user_history(standing.log.scan(), user_id, catalogue, state, standing.as_of_ms)
    found = UserDiagnosis(
        user_id=user_id,
        as_of=standing.as_of,
        placement=placement,
        model_version=ranked.model_version,
        history=history,
        num_read_items=len(inspection.moment.user.positions),
        sources=_source_counts(inspection, pipeline.config.placements[placement].sources),
        removed={name: int((~passes).sum()) for name, passes in inspection.passes.items()},
        num_candidates=len(inspection.candidates.positions),
        num_left=int(inspection.keep.sum()),
        service_level=ranked.service_level,
        degraded_reasons=ranked.degraded_reasons,
        missing_item_ids=ranked.missing_item_ids,
        top=places(pipeline, ranked),
        findings=(),
    )
    return replace(found, findings=tuple(_findings(found, pipeline.config.state.max_age_days)))


def places(pipeline: Pipeline, ranked: RankedList) -> tuple[Place, ...]:
    """The items of a list with their titles, sources and strongest contributions."""
    rows = pipeline.items([item.item_id for item in ranked.items])
    titles = {str(row[ITEM_ID]): str(row[TITLE]) for row in rows}
    return tuple(
        Place.of(rank, item, titles[item.item_id], _NUM_CONTRIBUTIONS)
        for rank, item in enumerate(ranked.items, 1)
    )


def _source_counts(inspection: Inspection, names: tuple[str, ...]) -> tuple[SourceCount, ...]:
    def counted(name: str) -> SourceCount:
        offered = (inspection.candidates.sources >> np.uint32(SOURCE_NAMES.index(name)) & 1).astype(bool)
        return SourceCount(name, int(offered.sum()), int((offered & inspection.keep).sum()))

    return tuple(counted(name) for name in names)


def _findings(found: UserDiagnosis, max_age_days: float) -> list[str]:
    return [*_about_history(found.history, max_age_days), *_about_candidates(found), *_about_list(found)]


def _about_history(history: UserHistory, max_age_days: float) -> list[str]:
    if not history.num_events:
        return ["No events: nothing is known of this user."]
    said = []
    if history.num_unweighted_events == history.num_events:
        said.append(
            f"All events are of types without a weight, which are not read: {_listed(history.events)}."
        )
    elif history.num_unweighted_events:
        said.append(
            f"{history.num_unweighted_events:,} events are of types without a weight: they are not read."
        )
    if history.num_unknown_items == history.num_items:
        said.append(
            f"All {history.num_items:,} items of the history are not, or no longer, in the catalogue."
        )
    elif history.num_unknown_items:
        said.append(
            f"{history.num_unknown_items:,} of the history's {history.num_items:,} items are not, or no "
            "longer, in the catalogue: their events are not read."
        )
    if history.num_expired_rows:
        share = "All" if history.num_expired_rows == history.num_rows else f"{history.num_expired_rows:,} of"
        said.append(
            f"{share} {history.num_rows:,} pairs of item and event type had their last event more than "
            f"{max_age_days:g} days ago: they have expired."
        )
    return said


def _about_candidates(found: UserDiagnosis) -> list[str]:
    said = []
    silent = [count.source for count in found.sources if not count.offered]
    if silent and len(silent) == len(found.sources):
        said.append("No source offers anything.")
    elif silent:
        said.append(f"These sources offer nothing: {', '.join(silent)}.")
    for name, removed in found.removed.items():
        if removed:
            words = name.replace("_", " ")
            said.append(f"{removed:,} of {found.num_candidates:,} candidates are taken out: {words}.")
    return said


def _about_list(found: UserDiagnosis) -> list[str]:
    if found.service_level != ServiceLevel.FULL:
        return [f"The list is {_LEVELS[found.service_level]} ({', '.join(found.degraded_reasons)})."]
    said = [
        f"The ranker orders {found.num_candidates:,} candidates, of which {found.num_left:,} may be shown."
    ]
    if not found.num_read_items:
        said.append(
            "No history is read: anybody without one gets this list, made from what is known of the items "
            "alone, their popularity above all."
        )
    elif found.top and not any(set(place.sources) - _IMPERSONAL for place in found.top):
        said.append("Everything at the top was offered only because it is popular.")
    if len(found.top) == found.num_left:
        said.append("The list ends because there are no more candidates.")
    return said


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in counts.items())
