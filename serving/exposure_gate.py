"""The gate ``exposure``: does a new model turn over who is shown, as a model does that somebody has gamed?

Both models answer the same recent users as of now. The gate refuses when a seller's share of the shown items
grows threefold, when a fifth fewer different items are shown, or when half of the hundred most shown items
are others. Whoever wants that leaves the gate out, and the record of decisions says so.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from recsys.answer import Query
from recsys.errors import RecsysError
from recsys.event_log import EventLog
from recsys.promotion import Gate
from recsys.schema import ATTRIBUTES, BRAND, EFFECTIVE_TIME, ITEM_ID, USER_ID
from recsys.workspace import Workspace
from serving.event import VISITOR_PREFIX
from serving.replay import Replay

MOST_GROWTH = 3.0
"""Times that a seller's share of the shown items may grow."""
LEAST_SHARE = 0.02
"""Share below which a seller's growth is no matter."""
LEAST_COVERAGE = 0.8
"""Different items shown, as a share of those that the serving model shows."""
LEAST_OVERLAP = 0.5
"""Share of the serving model's most shown items that stay among them."""
NUM_USERS = 500
"""The users of the log's latest events who are answered."""
NUM_TOP = 100

_NAME = "exposure"
_SELLER = "seller"
_LIMIT = 10


@dataclass(frozen=True)
class Exposure:
    """What one model shows some users."""

    items: Counter[str]
    """Times that each item is shown."""
    sellers: Counter[str]
    """The same by the attribute ``seller``, or the brand where an item has none."""


def exposure(workspace: Workspace, version: str, serving: str | None) -> Gate:
    """Whether the new model shows much the same sellers and items as the serving one."""
    if serving is None or serving == version:
        return Gate(_NAME)
    try:
        queries = _recent_users(EventLog(workspace.events))
        if queries.is_empty():
            return Gate(_NAME, ("the log holds nobody to recommend to; ingest events first",))
        new, old = (_exposure(workspace, queries, one) for one in (version, serving))
    except (RecsysError, pl.exceptions.PolarsError) as error:
        return Gate(_NAME, (f"cannot be told: {error}",))
    return compare(new, old, serving)


def compare(new: Exposure, old: Exposure, serving: str) -> Gate:
    """What the gate says of two exposures.

    Args:
        new: Of the model that is to serve.
        old: Of the one that serves.
        serving: Its version, for the reasons.
    """
    grown = dict(_grown(new.sellers, old.sellers))
    coverage = len(new.items) / max(len(old.items), 1)
    num_top = min(NUM_TOP, len(old.items))
    tops = [{item_id for item_id, _ in one.items.most_common(num_top)} for one in (new, old)]
    overlap = len(tops[0] & tops[1]) / max(num_top, 1)
    reasons = [f"a seller's share of the shown items grows {times:.1f} times" for times in grown.values()]
    if coverage < LEAST_COVERAGE:
        reasons.append(f"{1 - coverage:.0%} fewer different items are shown than by {serving}")
    if overlap < LEAST_OVERLAP:
        reasons.append(f"only {overlap:.0%} of the {num_top} items that {serving} shows most stay among them")
    return Gate(_NAME, tuple(reasons), {"grown": grown, "coverage": coverage, "overlap": overlap})


def _grown(new: Counter[str], old: Counter[str]) -> Iterator[tuple[str, float]]:
    """Sellers whose share grew beyond measure, with how many times."""
    total_new, total_old = max(new.total(), 1), max(old.total(), 1)
    for seller, count in new.most_common():
        share, before = count / total_new, old[seller] / total_old
        if share >= LEAST_SHARE and share >= MOST_GROWTH * before:
            yield seller, share / max(before, 1 / total_old)


def _exposure(workspace: Workspace, queries: pl.DataFrame, version: str) -> Exposure:
    replay = Replay(workspace, queries, version=version)
    items: Counter[str] = Counter()
    for _, as_of_ms, state in replay.moments():
        ranked = replay.pipeline.recommend(Query(as_of_ms=as_of_ms, user=state, limit=_LIMIT))
        items.update(item.item_id for item in ranked.items)
    sellers: Counter[str] = Counter()
    for row in replay.pipeline.items(list(items)):
        sellers[_seller(row)] += items[str(row[ITEM_ID])]
    return Exposure(items, sellers)


def _seller(row: dict[str, object]) -> str:
    attributes = row.get(ATTRIBUTES) or []
    assert isinstance(attributes, list)  # as the schema has it
    named = next((str(pair["value"]) for pair in attributes if pair["key"] == _SELLER), None)
    return named or str(row.get(BRAND) or "")


def _recent_users(log: EventLog) -> pl.DataFrame:
    is_user = ~pl.col(USER_ID).str.starts_with(VISITOR_PREFIX[0])
    latest = log.scan().filter(is_user).group_by(USER_ID).agg(pl.col(EFFECTIVE_TIME).max().alias("last"))
    return latest.sort("last", USER_ID, descending=True).head(NUM_USERS).select(USER_ID).collect()
