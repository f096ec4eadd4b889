"""A list as it was served: what an attribution token stands for."""

import json
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import polars as pl

from recsys.schema import SERVED_LIST_SCHEMA


@dataclass(frozen=True)
class ServedList:
    """One answer of ``Recommend`` or ``Rank``; fields are columns of ``recsys.schema.SERVED_LIST_SCHEMA``."""

    list_id: str
    """128 random bits, in hexadecimal."""
    served_time: int
    """Milliseconds since the epoch, UTC."""
    subject: str | None
    """Whom it was for, see ``serving.event.subject``; ``None`` for nobody in particular."""
    placement: str
    request_id: str
    model_version: str
    service_level: str
    """Name of a ``recsys.answer.ServiceLevel``."""
    item_ids: tuple[str, ...]
    """In the order of the answer."""
    scores: tuple[float, ...]
    propensities: tuple[float, ...]
    """Probability with which the policy put each item into its slot."""
    first_position: int = 0
    """Position of the first item: more than 0 on later pages."""
    first_list_id: str | None = None
    """The list of the first page, on later ones."""
    arms: tuple[tuple[str, str], ...] = ()
    """Pairs of experiment and arm, of those experiments that could change the list; the same list would be
    an exposure in every arm."""
    forced: tuple[str, ...] = ()
    """Experiments among ``arms`` whose arm was given by hand."""
    policy: str = ""
    """How the order was drawn, where it was drawn at random, see ``recsys.answer.RankedList.policy``."""
    server: str = ""
    """The server process, 64 random bits in hexadecimal; every start is another one."""
    server_sequence: int = 0
    """Number of the list among those of ``server``, from 1 without gaps: what is missing was lost."""
    versions: tuple[int, ...] = ()
    """Version of the experiment's definition, for each of ``arms``; empty for lists of before it was kept."""
    substituted: tuple[str, ...] | None = ()
    """Experiments among ``arms`` whose arm's model was not in memory, so that the stable one answered;
    ``None`` for lists of before it was kept."""
    latency_ms: float | None = None
    """Milliseconds from the start of the call until the list was ready; ``None`` outside of calls, and for
    lists of before it was kept."""

    def position_of(self, item_id: str) -> int | None:
        """0-based position of an item, or ``None`` when the list does not hold it."""
        try:
            return self.first_position + self.item_ids.index(item_id)
        except ValueError:
            return None

    def to_row(self) -> tuple[object, ...]:
        """Values for ``COLUMNS``; the inverse of ``from_row``."""
        return (
            self.list_id,
            self.served_time,
            self.subject,
            self.placement,
            self.request_id,
            self.model_version,
            self.service_level,
            json.dumps(self.item_ids, ensure_ascii=False),
            array("d", self.scores).tobytes(),
            array("d", self.propensities).tobytes(),
            self.first_position,
            self.first_list_id,
            json.dumps(self.arms, ensure_ascii=False),
            json.dumps(self.forced, ensure_ascii=False),
            self.policy,
            self.server,
            self.server_sequence,
            json.dumps(self.versions),
            None if self.substituted is None else json.dumps(self.substituted, ensure_ascii=False),
            self.latency_ms,
        )

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> "ServedList":
        """Read what ``to_row`` wrote."""
        list_id, served_time, subject, placement, request_id, model_version, level = row[:7]
        item_ids, scores, propensities, first_position, first_list_id, arms = row[7:13]
        forced, policy, server, sequence, versions, substituted, latency_ms = row[13:]
        return cls(
            list_id=list_id,
            served_time=served_time,
            subject=subject,
            placement=placement,
            request_id=request_id,
            model_version=model_version,
            service_level=level,
            item_ids=tuple(json.loads(item_ids)),
            scores=tuple(array("d", scores)),
            propensities=tuple(array("d", propensities)),
            first_position=first_position,
            first_list_id=first_list_id,
            arms=tuple((experiment, arm) for experiment, arm in json.loads(arms)),
            forced=tuple(json.loads(forced or "[]")),
            policy=policy or "",
            server=server or "",
            server_sequence=sequence or 0,
            versions=tuple(json.loads(versions or "[]")),
            substituted=None if substituted is None else tuple(json.loads(substituted)),
            latency_ms=latency_ms,
        )


COLUMNS = (
    "list_id",
    "served_time",
    "subject",
    "placement",
    "request_id",
    "model_version",
    "service_level",
    "item_ids",
    "scores",
    "propensities",
    "first_position",
    "first_list_id",
    "arms",
    "forced",
    "policy",
    "server",
    "server_sequence",
    "versions",
    "substituted",
    "latency_ms",
)
"""Names of the values of ``ServedList.to_row``."""


def served_frame(lists: Iterable[ServedList]) -> pl.DataFrame:
    """The lists as a frame of ``SERVED_LIST_SCHEMA``."""
    rows = [
        {name: getattr(served, name) for name in SERVED_LIST_SCHEMA} | {"arms": _arms(served)}
        for served in lists
    ]
    return pl.DataFrame(rows, schema=SERVED_LIST_SCHEMA, orient="row")


def _arms(served: ServedList) -> list[dict[str, object]]:
    known = zip_longest(served.arms, served.versions)
    return [{"experiment": arm[0], "arm": arm[1], "version": version} for arm, version in known]
