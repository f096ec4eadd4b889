"""Turns events that carry an attribution token into events that say all that the token's list says."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from recsys.errors import IntakeError, InvalidRequestError
from recsys.schema import IMPRESSION, MAX_ID_BYTES
from serving.attribution_token import ATTRIBUTION, AttributionToken
from serving.event import VISITOR_PREFIX
from serving.intake import Attributed, ReceivedEvent
from serving.list_log import ListLog
from serving.second_look import look_again
from serving.served_list import ServedList
from serving.signer import Signer

MAX_EXPANDED = 20_000
"""Most impressions that the tokens of one batch may stand for."""

_NEW_MS = 2000  # age up to which another process may not have written a list yet
_LOOK_AGAIN_SECONDS = 0.05
_LOOKS = 6


@dataclass(frozen=True)
class _Claim:
    """An event and its token; the reason why it is refused, if it is."""

    event: ReceivedEvent
    token: AttributionToken | None = None
    problem: str = ""

    @property
    def needs_items(self) -> bool:
        return self.event.event_type == IMPRESSION and not self.event.item_id

    @property
    def needs_subject(self) -> bool:
        return not (self.event.user_id or self.event.visitor_id)

    @property
    def wants_list(self) -> bool:
        return self.token is not None and (
            self.needs_items or self.needs_subject or self.event.position is None
        )


class Attribution:
    """Resolves tokens against the list log."""

    def __init__(self, list_log: ListLog, signer: Signer) -> None:
        self._list_log = list_log
        self._signer = signer

    async def resolve(self, received: Sequence[ReceivedEvent], now_ms: int) -> list[Attributed]:
        """What each event of a batch stands for.

        Raises:
            IntakeError: The list log cannot be read, and an event says nothing without it.
        """
        if not any(event.attribution_token for event in received):
            return [Attributed((event,)) for event in received]
        claims = [self._claim(event) for event in received]
        lists = await self._find(claims, now_ms)
        resolved, num_expanded = [], 0
        for claim in claims:
            attributed = _resolved(claim, lists)
            num_expanded += len(attributed.events) - 1
            if num_expanded > MAX_EXPANDED:
                num_expanded -= len(attributed.events) - 1
                problem = (
                    f"expected lists of at most {MAX_EXPANDED} items in one batch; send it again by itself"
                )
                attributed = Attributed((claim.event,), problem=f"{ATTRIBUTION}: {problem}")
            resolved.append(attributed)
        return resolved

    def _claim(self, event: ReceivedEvent) -> _Claim:
        if not event.attribution_token:
            return _Claim(event)
        try:
            token = AttributionToken.read(self._signer, event.attribution_token)
        except InvalidRequestError as error:
            return _Claim(event, problem=str(error))
        if event.list_id not in {"", token.list_id}:
            return _Claim(event, problem="list_id: expected the list of the attribution_token, or none")
        return _Claim(replace(event, list_id=token.list_id), token)

    async def _find(self, claims: Sequence[_Claim], now_ms: int) -> dict[str, ServedList]:
        issued = {
            claim.token.list_id: claim.token.issued_ms
            for claim in claims
            if claim.token is not None and claim.wants_list
        }
        found: dict[str, ServedList] = {}

        async def look() -> dict[str, ServedList] | None:
            found.update(await asyncio.to_thread(self._list_log.find, issued.keys() - found.keys()))
            may_come = any(now_ms - issued[list_id] < _NEW_MS for list_id in issued.keys() - found.keys())
            return None if may_come else found

        try:
            await look_again(look, looks=_LOOKS, seconds=_LOOK_AGAIN_SECONDS)
        except IntakeError:
            if any(claim.token and (claim.needs_items or claim.needs_subject) for claim in claims):
                raise
        return found


def _resolved(claim: _Claim, lists: Mapping[str, ServedList]) -> Attributed:
    event, token = claim.event, claim.token
    if token is None:
        return Attributed((event,), problem=claim.problem)
    served = lists.get(token.list_id)
    if served is None:
        return Attributed((event,), problem=_without_list(claim))
    if claim.needs_subject and served.subject is not None:
        event = _for_subject(event, served.subject)
    if claim.needs_items:
        return _expanded(event, served)
    if event.position is None:
        event = replace(event, position=served.position_of(event.item_id))
    return Attributed((event,))


def _without_list(claim: _Claim) -> str:
    """Why an event cannot be kept when its list is not known any more; empty when it can."""
    if claim.needs_items:
        return (
            f"{ATTRIBUTION}: expected a list that is still known, got one that was forgotten; "
            "send one impression per item, with its item_id"
        )
    if claim.needs_subject:
        return "user_id: expected a user_id or a visitor_id, since the attribution_token's list was forgotten"
    return ""


def _for_subject(event: ReceivedEvent, subject: str) -> ReceivedEvent:
    if subject.startswith(VISITOR_PREFIX):
        return replace(event, visitor_id=subject.removeprefix(VISITOR_PREFIX))
    return replace(event, user_id=subject)


def _expanded(event: ReceivedEvent, served: ServedList) -> Attributed:
    """One impression per item, with ids that a repetition of the request derives again."""
    if not served.item_ids:
        return Attributed((event,), problem=f"{ATTRIBUTION}: expected a list with items, got an empty one")
    if (size := len(event.event_id.encode())) > MAX_ID_BYTES:
        problem = f"event_id: expected at most {MAX_ID_BYTES} bytes of UTF-8, got {size}"
        return Attributed((event,), problem=problem)
    event_id = event.event_id or f"impressions-{served.list_id}"
    impressions = [
        replace(event, event_id=_derived(event_id, position), item_id=item_id, position=position)
        for position, item_id in enumerate(served.item_ids, served.first_position)
    ]
    return Attributed(tuple(impressions), event_id=event_id)


def _derived(event_id: str, position: int) -> str:
    return hashlib.sha256(f"{event_id}\x1f{position}".encode()).hexdigest()[:32]
