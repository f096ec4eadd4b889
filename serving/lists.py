"""Gives every answer its list: an id, a token, a record, and its later pages."""

import secrets
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import structlog
from jaxtyping import Bool

from recsys.answer import RankedList
from recsys.errors import FieldViolation, InvalidRequestError
from recsys.experiments.arm_record import ArmRecord
from recsys.experiments.book import UNTREATED, Treatment
from serving.attribution_token import AttributionToken
from serving.call import elapsed_ms
from serving.kept_list import KeptList, kept_list
from serving.list_log import ListLog
from serving.page_store import PageStore
from serving.page_token import PAGE, PageToken
from serving.served_list import ServedList
from serving.signer import Signer

PAGES_UNAVAILABLE = "pages_unavailable"
"""Degraded reason: more items follow, and they cannot be kept for a next page now."""

_NEW_MS = 2000  # age up to which a list may not be written yet


@dataclass(frozen=True)
class Occasion:
    """What a list was made for."""

    subject: str | None
    placement: str
    identity: bytes
    """Hash of the request, see ``serving.page_token.request_identity``; empty when it has no pages."""
    now_ms: int
    """Milliseconds since the epoch."""
    treatment: Treatment = UNTREATED
    """What experiments made of it; later pages have what their first one had."""
    list_id: str = ""
    """Id of the first page's list, where the list was made by it; empty for a new one."""
    segment: str = ""
    """Whom the blurbs of a first page may speak to."""


@dataclass(frozen=True)
class Issued:
    """A list with the tokens that its answer carries."""

    ranked: RankedList
    attribution_token: str
    next_page_token: str = ""
    arms: tuple[tuple[str, str], ...] = ()
    """Pairs of experiment and arm."""


def new_list_id() -> str:
    """128 random bits, in hexadecimal."""
    return secrets.token_hex(16)


class Lists:
    """Issues lists and finds their later pages; nothing here can fail an answer but a wrong page token."""

    def __init__(self, list_log: ListLog, pages: PageStore, signer: Signer, *, page_depth: int) -> None:
        self.list_log = list_log
        self.pages = pages
        """Where later pages wait."""
        self.signer = signer
        self.page_depth = page_depth
        """Most items of a list, over all its pages."""
        self._server, self._numbers = secrets.token_hex(8), count(1)

    def issue(self, ranked: RankedList, occasion: Occasion) -> Issued:
        """Record the first page of a list and keep what follows it."""
        list_id = occasion.list_id or new_list_id()
        record, next_page = occasion.treatment.record, ""
        kept = kept_list(ranked, record, occasion.segment)
        if kept is not None and self.pages.keep(list_id, kept):
            place = PageToken(list_id, occasion.now_ms, occasion.identity, 0, len(ranked.items))
            next_page = place.signed(self.signer)
        elif kept is not None:
            ranked = replace(ranked, degraded_reasons=(*ranked.degraded_reasons, PAGES_UNAVAILABLE))
        self._log(list_id, ranked, occasion, record)
        return Issued(ranked, self._token(list_id, occasion), next_page, record.arms)

    async def find(self, place: PageToken, now_ms: int) -> KeptList:
        """What was kept of a list.

        Raises:
            InvalidRequestError: It has expired.
            StoreError: The store is away.
        """
        kept = await self.pages.get(place.list_id, is_new=now_ms - place.issued_ms < _NEW_MS)
        if kept is None:
            problem = (
                "expected a token of a list that is still kept, got an expired one; ask for the first page"
            )
            raise InvalidRequestError(FieldViolation(PAGE, problem))
        return kept

    def page(
        self,
        kept: KeptList,
        place: PageToken,
        occasion: Occasion,
        sellable: Bool[np.ndarray, " items"],
        limit: int,
    ) -> Issued:
        """Record a later page.

        Args:
            kept: The list.
            place: Where the page starts in it.
            occasion: What it is for.
            sellable: Whether each item of the list, from ``place.start`` on, can be sold.
            limit: Most items of the page.
        """
        rows = (place.start + np.flatnonzero(sellable)).tolist()
        shown, further = rows[:limit], rows[limit:]
        ranked, list_id, next_page = kept.ranked(shown), new_list_id(), ""
        if further:
            on = replace(place, issued_ms=occasion.now_ms, start=further[0], position=place.position + limit)
            next_page = on.signed(self.signer)
        self._log(list_id, ranked, occasion, kept.record, first=(place.position, place.list_id))
        return Issued(ranked, self._token(list_id, occasion), next_page, kept.record.arms)

    def _log(
        self,
        list_id: str,
        ranked: RankedList,
        occasion: Occasion,
        record: ArmRecord,
        *,
        first: tuple[int, str | None] = (0, None),
    ) -> None:
        """Number a list and hand it over; one that is lost then leaves a gap in the numbers."""
        self.list_log.add(
            ServedList(
                list_id=list_id,
                served_time=occasion.now_ms,
                subject=occasion.subject,
                placement=occasion.placement,
                request_id=str(structlog.contextvars.get_contextvars().get("request_id", "")),
                model_version=ranked.model_version,
                service_level=ranked.service_level.value,
                item_ids=tuple([item.item_id for item in ranked.items]),
                scores=tuple([item.score for item in ranked.items]),
                propensities=tuple([item.propensity for item in ranked.items]),
                first_position=first[0],
                first_list_id=first[1],
                arms=record.arms,
                versions=record.versions,
                forced=record.forced,
                substituted=record.substituted,
                policy=ranked.policy,
                server=self._server,
                server_sequence=next(self._numbers),
                latency_ms=elapsed_ms(),
            )
        )

    def _token(self, list_id: str, occasion: Occasion) -> str:
        return AttributionToken(list_id, occasion.now_ms).signed(self.signer)
