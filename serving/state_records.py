"""Reads what stands under a user's key: a state, or a visitor's link to a user's."""

import structlog

from recsys.config import StateConfig
from recsys.errors import StoreError
from recsys.user_state import UserState
from serving.visitor_link import VisitorLink

_log = structlog.get_logger(__name__)
_MOST_DAMAGED = 1000  # that are made anew at once


class StateRecords:
    """Tells what can be read from what cannot, which is treated as absent and counted."""

    def __init__(self, config: StateConfig) -> None:
        """Read states of a configuration; those of another cannot be read."""
        self._config = config
        self.num_unreadable = 0
        """States that were damaged or of another version or configuration, since the start."""
        self.damaged: set[str] = set()
        """Whose they were, until they are made anew."""

    def state(self, raw: bytes | str | None, user_id: str = "") -> UserState | None:
        """The state that was written, or ``None`` where there is none that can be read.

        Args:
            raw: What the store holds.
            user_id: Whose it is, to make it anew where it cannot be read.
        """
        if raw is None:
            return None
        assert isinstance(raw, bytes)  # the client does not decode
        try:
            state = UserState.from_bytes(raw)
            if state.half_lives_days != self._config.half_lives_days:
                raise StoreError("a user state has other half-lives than the configuration")
        except StoreError as error:
            if not self.num_unreadable:
                _log.warning("unreadable user state is treated as absent", reason=str(error))
            self.num_unreadable += 1
            if user_id and len(self.damaged) < _MOST_DAMAGED:
                self.damaged.add(user_id)
            return None
        return state


def link_in(raw: bytes | str | None) -> VisitorLink | None:
    """The link that was written, or ``None`` where there is something else, or nothing."""
    return VisitorLink.from_bytes(raw) if isinstance(raw, bytes) else None
