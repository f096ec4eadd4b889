"""Signs what clients carry for the server and must not change.

A token is, in base64url: a version byte, the key's id (4 bytes), the payload, and a keyed BLAKE2b of
16 bytes over the purpose, the tenant and all of these; none passes for one of another kind or tenant.

Source: Aumasson et al., "BLAKE2: simpler, smaller, fast as MD5", 2013, section 2.9 for the keyed mode.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from pathlib import Path

from recsys.errors import ConfigError, FieldViolation, InvalidRequestError
from recsys.key_file import own_key

KEY_FILE = "token.key"
"""Name of the generated key in ``Workspace.state``."""
MIN_KEY_CHARS = 16
"""Shortest key, in characters."""

_VERSION = b"\x01"
_ID_BYTES = 4
_MAC_BYTES = 16


class Signer:
    """Signs with the first of its keys and knows the tokens of all of them."""

    def __init__(self, keys: Sequence[bytes], tenant: str) -> None:
        """Args: ``keys``, the one that signs first; ``tenant``, whose tokens these are."""
        self._tenant = tenant.encode()
        self._keys = {
            hashlib.sha256(b"key id\0" + key).digest()[:_ID_BYTES]: hashlib.sha256(b"key\0" + key).digest()
            for key in keys
        }
        self._first = next(iter(self._keys))

    def sign(self, purpose: str, payload: bytes) -> str:
        """A token that carries ``payload``, for one purpose."""
        body = _VERSION + self._first + payload
        return base64.urlsafe_b64encode(body + self._mac(self._first, purpose, body)).decode().rstrip("=")

    def open(self, purpose: str, token: str, size: int) -> bytes:
        """The payload of a token.

        Args:
            purpose: The purpose that it was signed for; also the request's field that it came in.
            token: What the client sent.
            size: Bytes of the payload.

        Raises:
            InvalidRequestError: It is no such token, or not as the server gave it.
        """
        body, mac = self._split(purpose, token, size)
        key_id = body[1 : 1 + _ID_BYTES]
        if body[:1] != _VERSION or key_id not in self._keys:
            raise _refused(purpose, "expected a token of this server, got one of an unknown version or key")
        if not hmac.compare_digest(mac, self._mac(key_id, purpose, body)):
            raise _refused(purpose, "expected a token as the server gave it, got one that was changed")
        return body[1 + _ID_BYTES :]

    def _split(self, purpose: str, token: str, size: int) -> tuple[bytes, bytes]:
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            raw = b""
        # Decoding skips letters outside the alphabet, and a last letter may carry bits that mean nothing.
        canonical = base64.urlsafe_b64encode(raw).decode().rstrip("=") == token
        if not canonical or len(raw) != 1 + _ID_BYTES + size + _MAC_BYTES:
            raise _refused(
                purpose, f"expected a token that the server gave, got {len(token)} characters that are none"
            )
        return raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]

    def _mac(self, key_id: bytes, purpose: str, body: bytes) -> bytes:
        signed = b"\0".join((purpose.encode(), self._tenant, body))
        return hashlib.blake2b(signed, key=self._keys[key_id], digest_size=_MAC_BYTES).digest()


def signing_keys(configured: str | None, state: Path) -> tuple[bytes, ...]:
    """The configured keys, or one that is made once and kept in a file that only its owner reads.

    Args:
        configured: Keys separated by commas, the one that signs first; ``None`` for the file's.
        state: Directory of the file; all server processes of a workspace share it.

    Raises:
        ConfigError: A configured key is too short, or the file cannot be made or holds no key.
    """
    if configured is None:
        return (own_key(state / KEY_FILE),)
    keys = [key.strip().encode() for key in configured.split(",")]
    if any(len(key) < MIN_KEY_CHARS for key in keys):
        raise ConfigError(
            f"RECSYS_TOKEN_KEYS: expected keys of {MIN_KEY_CHARS} or more characters, separated by commas"
        )
    return tuple(keys)


def _refused(field: str, problem: str) -> InvalidRequestError:
    return InvalidRequestError(FieldViolation(field, problem))
