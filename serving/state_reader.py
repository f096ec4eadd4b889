"""Reads users' states for answers, on the threads that rank.

A blocking client takes a third of the processor time that one of the event loop takes, and the event loop is
not woken for it. A state that does not come makes an answer less personal; it never fails one.
"""

import structlog

from recsys.errors import StoreError
from recsys.user_state import UserState
from serving.blocking_cluster import BlockingClient
from serving.breaker import Breaker
from serving.cluster_client import STORE_ERRORS
from serving.state_store import StateStore
from serving.visitor_link import VisitorLink

STATE_UNAVAILABLE = "state_unavailable"
"""Degraded reason: the user's state could not be read in time."""
_log = structlog.get_logger(__name__)


class StateReader:
    """Reads the states of one store; several threads may."""

    def __init__(self, client: BlockingClient, store: StateStore) -> None:
        """Put the two together.

        Args:
            client: Its timeout is the longest that one read waits; a visitor who logged in takes two.
            store: Whose states these are.
        """
        self._client = client
        self._store = store
        self.breaker = Breaker()
        """Open while ``read`` goes without the store."""

    def read(self, subject: str | None) -> tuple[UserState | None, tuple[str, ...]]:
        """Somebody's state, and why it is absent where the store is to blame.

        Args:
            subject: See ``serving.event.subject``; ``None`` has no state.
        """
        if subject is None:
            return None, ()
        if self.breaker.is_open():
            return None, (STATE_UNAVAILABLE,)
        try:
            state = self.get(subject)
        except StoreError as error:
            if self.breaker.failed():
                _log.warning("answers are not personal", reason=str(error))
            return None, (STATE_UNAVAILABLE,)
        self.breaker.succeeded()
        return state, ()

    def get(self, user_id: str) -> UserState | None:
        """The user's state, or ``None`` for somebody unknown; a visitor who logged in has the user's.

        Raises:
            StoreError: The store did not answer in time.
        """
        raw = self._read(user_id)
        if raw is not None and (link := VisitorLink.from_bytes(raw)) is not None:
            user_id = link.user_id
            raw = self._read(user_id)
        return self._store.records.state(raw, user_id)

    def _read(self, user_id: str) -> bytes | None:
        try:
            raw = self._client.get(self._store.keys.state(user_id))
        except STORE_ERRORS as error:
            raise StoreError(f"the store did not answer: {type(error).__name__}") from error
        assert raw is None or isinstance(raw, bytes)  # the client does not decode
        return raw
