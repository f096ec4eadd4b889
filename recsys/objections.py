"""Who does not want to be profiled: a durable flag per person, which answers and intake obey.

Of such a person nothing is read for an answer, nothing is remembered, and an event counts for its item but
for nobody in particular. The flag is kept as a keyed hash, see ``recsys.digest_names``.
"""

import time
import uuid
from pathlib import Path

from recsys.digest_names import DigestNames

ANONYMOUS_PREFIX = "\x1fanonymous:"
"""Marks, where users' ids stand, nobody in particular; the wire refuses ids that begin with U+001F."""

_LOOK_SECONDS = 0.2


class Objections:
    """The flags of one workspace; any thread of any process may call any method."""

    def __init__(self, workspace: Path) -> None:
        """Args: ``workspace``, its root, where nothing need exist yet."""
        self._names = DigestNames(workspace, "objections")
        self._looked, self._any = 0.0, False

    def set(self, subject: str, *, objects: bool) -> None:
        """Raise somebody's flag, or take it down; it is on disk when this returns.

        Args:
            subject: The id as in ``user_id`` of events.
            objects: Whether the person does not want to be profiled.

        Raises:
            OSError: It cannot be written.
        """
        if objects:
            self._names.add({subject: 1})
        else:
            self._names.remove(subject)
        self._looked = 0.0

    def __contains__(self, subject: str) -> bool:
        """Whether somebody objects; another process's change is seen within a fifth of a second.

        Raises:
            ConfigError: There are flags, and their key is gone.
        """
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self._any, self._looked = len(self._names) > 0, now
        return self._any and self._names.get(subject) >= 0


def nobody() -> str:
    """An id for an event of somebody who objects; no two are the same."""
    return ANONYMOUS_PREFIX + uuid.uuid4().hex
