"""The token of the next page: of which list, for which request, and where it goes on."""

import hashlib
import struct
from dataclasses import dataclass

from recsys.errors import FieldViolation, InvalidRequestError
from serving.signer import Signer

PAGE = "page_token"
"""The purpose that these tokens are signed for, and the field that they come back in."""
IDENTITY_BYTES = 16
"""Length of the hash that tells requests apart."""

_PAYLOAD = struct.Struct(f">q16s{IDENTITY_BYTES}sHH")  # issue time, list id, request, start, position


@dataclass(frozen=True)
class PageToken:
    """A place in a list."""

    list_id: str
    """The first page's list, in hexadecimal."""
    issued_ms: int
    """When the token was given, in milliseconds since the epoch."""
    identity: bytes
    """Hash of the request, see ``request_identity``."""
    start: int
    """Where the page starts in what was kept of the list, from 0."""
    position: int
    """Position that its first item gets: how many were shown on the pages before."""

    def signed(self, signer: Signer) -> str:
        """What the client gets."""
        payload = (self.issued_ms, bytes.fromhex(self.list_id), self.identity, self.start, self.position)
        return signer.sign(PAGE, _PAYLOAD.pack(*payload))

    @classmethod
    def read(cls, signer: Signer, token: str, identity: bytes) -> "PageToken":
        """Read what ``signed`` made.

        Args:
            signer: Who signed it.
            token: What the client sent.
            identity: Hash of the request that it came with.

        Raises:
            InvalidRequestError: The token is not one that this server gave, or not for this request.
        """
        issued_ms, list_id, of_request, start, position = _PAYLOAD.unpack(
            signer.open(PAGE, token, _PAYLOAD.size)
        )
        if of_request != identity:
            raise InvalidRequestError(
                FieldViolation(
                    PAGE,
                    "expected a token of this request, got one of another; keep all fields but page_size, "
                    "view, explain and session_id as they were, or leave page_token empty for the first page",
                )
            )
        return cls(list_id.hex(), issued_ms, of_request, start, position)


def request_identity(message: bytes) -> bytes:
    """Tells requests apart, by 128 bits."""
    return hashlib.blake2b(message, digest_size=IDENTITY_BYTES).digest()
