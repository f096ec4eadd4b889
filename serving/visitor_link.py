"""What the store holds in a visitor's place once it is known who the visitor is."""

import struct
from dataclasses import dataclass

_VERSION = 0x82  # no version of ``UserState``, whose bytes stand under the same keys
_HEADER = struct.Struct("<Bqq")


@dataclass(frozen=True)
class VisitorLink:
    """Says that a visitor's state went into a user's."""

    user_id: str
    sequence: int
    """Sequence number of the merge in the event buffer: the visitor's events up to it are the user's."""
    filling: int = 0
    """On which filling it builds, see ``serving.fillings``; 0 where one process alone writes."""

    def to_bytes(self) -> bytes:
        """The inverse of ``from_bytes``."""
        return _HEADER.pack(_VERSION, self.sequence, self.filling) + self.user_id.encode()

    @classmethod
    def from_bytes(cls, raw: bytes) -> "VisitorLink | None":
        """Read what ``to_bytes`` wrote; ``None`` for bytes of another kind."""
        if len(raw) < _HEADER.size or raw[0] != _VERSION:
            return None
        try:
            _, sequence, filling = _HEADER.unpack_from(raw)
            return cls(raw[_HEADER.size :].decode(), sequence, filling)
        except UnicodeDecodeError:
            return None
