"""Why an item is shown, or never is."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from statistics import median

import numpy as np

from recsys.answer import Query, RankedItem, RankedList
from recsys.candidates import source_names
from recsys.errors import ConfigError, DataError
from recsys.gathered import Inspection
from recsys.moment import Moment
from recsys.pipeline import Pipeline
from recsys.progress import progress
from recsys.schema import ITEM_ID, TITLE
from recsys.tables import read_items
from recsys.text import NO_WORDS
from recsys.workspace import Workspace
from serving.diagnosis.history import item_history, recent_users
from serving.diagnosis.item_report import CatalogueEntry, Exposure, ForUser, ItemDiagnosis, findings
from serving.diagnosis.reach import popularity_rank, reach
from serving.diagnosis.standing import Standing
from serving.diagnosis.user import places

_TOP = 10


def diagnose_item(
    workspace: Workspace,
    item_id: str,
    *,
    user_id: str | None = None,
    at_ms: int | None = None,
    placement: str = "home",
    num_users: int = 200,
) -> ItemDiagnosis:
    """Ask the log and the pipeline about one item.

    Args:
        workspace: The workspace.
        item_id: The item.
        user_id: A user to look at besides the sample.
        at_ms: The moment, milliseconds since the epoch; the end of the log when absent.
        placement: A placement of the bundle's configuration that starts from a user.
        num_users: Users of the sample: those whose last event is newest.

    Raises:
        BundleError: No bundle has been trained, or it does not verify.
        ConfigError: The placement is not configured, or starts from items.
        LeakageError: The bundle was fitted on events later than the moment.
    """
    standing = Standing.of(workspace, at_ms)
    pipeline = standing.pipeline
    moment = pipeline.inspect(Query(standing.as_of_ms, None, placement)).moment
    configured = pipeline.config.placements[placement]
    if configured.starts_from in {"context", "query"}:
        raise ConfigError(f"placement {placement!r} starts from items or words; choose one that does without")
    found = ItemDiagnosis(
        item_id=item_id,
        as_of=standing.as_of,
        placement=placement,
        model_version=pipeline.version,
        entry=None,
        history=item_history(standing.log.scan(), item_id, standing.as_of_ms),
        reach=(),
        exposure=None,
        user=None,
        findings=(),
    )
    position = pipeline.bundle.parts.catalogue.position.get(item_id)
    if position is None:
        return replace(found, findings=(_absence(workspace, found),))
    found = replace(
        found,
        entry=_entry(pipeline, moment, position),
        reach=reach(moment, position, configured.sources, pipeline.config.candidates),
        exposure=_exposure(standing, position, placement, num_users),
        user=_for_user(standing, position, user_id, placement) if user_id is not None else None,
    )
    return replace(found, findings=findings(found))


def _entry(pipeline: Pipeline, moment: Moment, position: int) -> CatalogueEntry:
    catalogue = pipeline.bundle.parts.catalogue
    text = catalogue.text_of_item[position]
    return CatalogueEntry(
        title=catalogue.frame[TITLE][position],
        available=bool(catalogue.available[position]),
        text=catalogue.texts[text],
        has_words=catalogue.texts[text] != NO_WORDS,
        num_sharing_text=int((catalogue.text_of_item == text).sum()) - 1,
        popularity_rank=popularity_rank(moment, position),
    )


def _exposure(standing: Standing, position: int, placement: str, num_users: int) -> Exposure:
    users = recent_users(standing.log.scan(), standing.as_of_ms, num_users)
    by_source: Counter[str] = Counter()
    removed: Counter[str] = Counter()
    num_candidate, ranks = 0, []
    with progress("asking for recent users", len(users)) as advance:
        for query in standing.queries(users, placement):
            sources, removed_by = _offer(standing.pipeline.inspect(query), position)
            num_candidate += bool(sources)
            by_source.update(sources)
            removed.update(removed_by)
            ranked = standing.pipeline.recommend(replace(query, limit=standing.num_items))
            ranks += [rank for rank, item in _numbered(ranked) if item.item_id == standing.item_id(position)]
            advance(1)
    return Exposure(
        num_users=len(users),
        num_candidate=num_candidate,
        by_source=dict(by_source.most_common()),
        removed=dict(removed.most_common()),
        num_listed=len(ranks),
        num_top=sum(rank <= _TOP for rank in ranks),
        best_rank=min(ranks, default=None),
        median_rank=median(ranks) if ranks else None,
    )


def _for_user(standing: Standing, position: int, user_id: str, placement: str) -> ForUser:
    [query] = standing.queries([user_id], placement)
    sources, removed_by = _offer(standing.pipeline.inspect(query), position)
    ranked = standing.pipeline.recommend(replace(query, limit=standing.num_items))
    item_id = standing.item_id(position)
    rank = next((rank for rank, item in _numbered(ranked) if item.item_id == item_id), None)
    top = standing.pipeline.recommend(replace(query, limit=max(rank or 0, _TOP), explain=True))
    shown = places(standing.pipeline, top)
    return ForUser(
        user_id=user_id,
        sources=sources,
        removed_by=removed_by,
        place=shown[rank - 1] if rank is not None else None,
        tenth=shown[_TOP - 1] if len(shown) >= _TOP else None,
    )


def _offer(inspection: Inspection, position: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Sources that offer an item, and filters that take it out."""
    row = np.flatnonzero(inspection.candidates.positions == position)
    if not len(row):
        return (), ()
    sources = source_names(int(inspection.candidates.sources[row[0]]))
    return sources, tuple(name for name, passes in inspection.passes.items() if not passes[row[0]])


def _numbered(ranked: RankedList) -> Iterator[tuple[int, RankedItem]]:
    return enumerate(ranked.items, 1)


def _absence(workspace: Workspace, found: ItemDiagnosis) -> str:
    try:
        is_ingested = found.item_id in read_items(workspace)[ITEM_ID]
    except DataError:
        is_ingested = False
    if is_ingested:
        return f"It came after bundle {found.model_version} was trained, which does not know it: train again."
    if found.history.events:
        return "The catalogue does not hold it, although the log has events of it: ingest it as an item."
    return "Nobody knows it: neither the catalogue nor the log holds this id."
