"""What the store holds in a visitor's place once it is known who the visitor is."""

import struct
from dataclasses import dataclass

_VERSION = 0x81  # no version of ``UserState``, whose bytes stand under the same keys
_HEADER = struct.Struct("<Bq")


@dataclass(frozen=True)
class VisitorLink:
    """Says that a visitor's state went into a user's."""

    user_id: str
    sequence: int
    """Sequence number of the merge in the event buffer: the visitor's events up to it are the user's."""

    def to_bytes(self) -> bytes:
        """The inverse of ``from_bytes``."""
        return _HEADER.pack(_VERSION, self.sequence) + self.user_id.encode()

    @classmethod
    def from_bytes(cls, raw: bytes) -> "VisitorLink | None":
        """Read what ``to_bytes`` wrote; ``None`` for bytes of another kind."""
        if len(raw) < _HEADER.size or raw[0] != _VERSION:
            return None
        try:
            return cls(raw[_HEADER.size :].decode(), _HEADER.unpack_from(raw)[1])
        except UnicodeDecodeError:
            return None
