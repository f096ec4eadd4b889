"""The token of an answer: which list it was, opaque to clients and evident when changed."""

import struct
from dataclasses import dataclass

from serving.signer import Signer

ATTRIBUTION = "attribution_token"
"""The purpose that these tokens are signed for, and the field that they travel in."""

_PAYLOAD = struct.Struct(">q16s")  # issue time, list id


@dataclass(frozen=True)
class AttributionToken:
    """A list that was served."""

    list_id: str
    """In hexadecimal."""
    issued_ms: int
    """When, in milliseconds since the epoch."""

    def signed(self, signer: Signer) -> str:
        """What the client gets: 60 characters."""
        return signer.sign(ATTRIBUTION, _PAYLOAD.pack(self.issued_ms, bytes.fromhex(self.list_id)))

    @classmethod
    def read(cls, signer: Signer, token: str) -> "AttributionToken":
        """Read what ``signed`` made.

        Raises:
            InvalidRequestError: The token is not one that this server gave.
        """
        issued_ms, list_id = _PAYLOAD.unpack(signer.open(ATTRIBUTION, token, _PAYLOAD.size))
        return cls(list_id.hex(), issued_ms)
