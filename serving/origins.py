"""Which visitor a user was before the first login: whoever was seen as a visitor keeps the visitor's arms.

The state store remembers it from the moment the login is applied, or from the first request while an
experiment runs, whichever came first. A user who had a state before any login was never a visitor to us, and
keeps the arms of the user's own id. A store that is rebuilt learns the logins from the log, and nothing of
what requests alone had told it.
"""

import asyncio
from datetime import timedelta

import polars as pl
import structlog

from recsys.errors import StoreError
from recsys.event_log import EventLog
from recsys.schema import MERGE_TIME, RECEIVED_TIME, USER_ID, VISITOR
from serving.breaker import Breaker
from serving.event import VISITOR_PREFIX
from serving.state_store import StateStore

_OF_ONE_LOGIN = timedelta(minutes=1)
_MOST_KEPT = 200_000
_log = structlog.get_logger(__name__)


class Origins:
    """Says by which id somebody is assigned; answers that cannot change are kept in memory."""

    def __init__(self, store: StateStore, timeout_seconds: float) -> None:
        self._store = store
        self._timeout_seconds = timeout_seconds
        self._breaker = Breaker()
        self._kept: dict[str, str] = {}

    async def unit(self, user_id: str, visitor_id: str) -> str | None:
        """The id that a request's arms follow from.

        A user whom nobody knows yet, with a visitor's id beside it, has just logged in: the visitor's counts.
        Whatever the first answer is, it is kept in the store, so that no later login moves what was shown.

        Returns:
            The id; ``None`` where it cannot be told, for nobody in particular or because the store is away:
            then no experiment may touch the request, or a unit could be in two arms.
        """
        if not user_id:
            return visitor_id or None
        if (kept := self._kept.get(user_id)) is not None:
            return kept
        if self._breaker.is_open():
            return None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                visitor, known = await self._store.origin(user_id)
                if visitor is None and not known:
                    first = VISITOR_PREFIX + visitor_id if visitor_id else user_id
                    await self._store.learn_origins([(user_id, first)])
                    visitor, _ = await self._store.origin(user_id)  # another server may have been sooner
        except (StoreError, TimeoutError):
            if self._breaker.failed():
                _log.warning("experiments leave users alone while the store is away")
            return None
        self._breaker.succeeded()
        unit = user_id if visitor is None else visitor.removeprefix(VISITOR_PREFIX)
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[user_id] = unit
        return unit

    def forget(self) -> None:
        """Let go of what is kept in memory."""
        self._kept.clear()


def origins_in(event_log: EventLog) -> list[tuple[str, str]]:
    """Users who were visitors before anything else was known of them, each with that visitor.

    What came within a minute before the login belongs to it: the event that says who the visitor is has the
    user's id too, and was received a little before it was merged.

    Raises:
        DataError: The log is damaged.
    """
    first = event_log.merges().unique(USER_ID, keep="first", maintain_order=True)
    if first.is_empty():
        return []
    own = (
        event_log.scan()
        .filter(pl.col(USER_ID).is_in(first[USER_ID].implode()))
        .group_by(USER_ID)
        .agg(pl.col(RECEIVED_TIME).min().alias("seen"))
        .collect()
    )
    found = first.join(own, on=USER_ID, how="left")
    is_new = pl.col("seen").is_null() | (pl.col("seen") >= pl.col(MERGE_TIME) - _OF_ONE_LOGIN)
    found = found.filter(is_new)
    return list(found.select(USER_ID, VISITOR).iter_rows())
