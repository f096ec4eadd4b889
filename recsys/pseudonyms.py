"""Pseudonyms for people's ids, by a keyed hash: who lacks the key cannot tell whose they are.

A pseudonym is still personal data. Whoever destroys the key makes it, and every backup that holds it, data of
nobody: new requests get other pseudonyms, and the old ones lead nowhere.

Source: RFC 2104 with SHA-256; the tenant's key is HMAC(key, tenant), so that one file serves several.
"""

import base64
import hmac
from functools import lru_cache

import polars as pl

from recsys.config import load_config
from recsys.key_file import own_key
from recsys.objections import ANONYMOUS_PREFIX
from recsys.readers import ROW, Source
from recsys.schema import MAX_ID_BYTES, USER_ID
from recsys.workspace import Workspace

PREFIX = "p1."
"""Begins every pseudonym: an id that begins so is one already and stays as it is."""
_DIGEST_BYTES = 24
_LENGTH = len(PREFIX) + 4 * _DIGEST_BYTES // 3
_KEPT = 100_000


class Pseudonyms:
    """The pseudonyms of one tenant."""

    def __init__(self, key: bytes, tenant: str) -> None:
        """Args: ``key``, of 16 or more bytes; ``tenant``, whose shoppers these are."""
        self._key = hmac.digest(key, b"tenant\0" + tenant.encode(), "sha256")
        self.of = lru_cache(_KEPT)(self._of)
        """The pseudonym of an id; of a pseudonym, an empty id, or one that no person may have, itself."""

    @classmethod
    def configured(cls, workspace: Workspace) -> "Pseudonyms | None":
        """What ``[privacy]`` of the workspace's configuration asks for; ``None`` for ids as they come.

        Raises:
            ConfigError: The configuration or the key cannot be read, or the key cannot be made.
        """
        privacy = load_config(workspace.config).privacy
        if not privacy.pseudonymise:
            return None
        return cls(own_key(workspace.root / privacy.key_file), privacy.tenant)

    def column(self, ids: pl.Series) -> pl.Series:
        """The pseudonyms of a column of ids."""
        distinct = ids.unique().drop_nulls()
        return ids.replace(distinct, pl.Series([self._of(one) for one in distinct], dtype=pl.String))

    def source(self, source: Source) -> Source:
        """What was read of files, with pseudonyms for ids."""
        if USER_ID not in source.rows.columns:
            return source
        ids = self.column(source.rows[USER_ID].cast(pl.String))
        return Source(source.rows.with_columns(ids), self.unreadable(source.rows, source.unreadable))

    def unreadable(self, rows: pl.DataFrame, unreadable: pl.DataFrame) -> pl.DataFrame:
        """Lines that are no rows, without what they say: whose they are, nobody knows.

        Args:
            rows: The rows among them, or their columns alone.
            unreadable: Columns of ``recsys.readers.REJECT_SCHEMA``.
        """
        return unreadable.with_columns(pl.lit("").alias(ROW)) if USER_ID in rows.columns else unreadable

    def _of(self, one: str) -> str:
        refused = one.startswith(ANONYMOUS_PREFIX[0]) or len(one.encode()) > MAX_ID_BYTES
        if not one or refused or (one.startswith(PREFIX) and len(one) == _LENGTH):
            return one
        digest = hmac.digest(self._key, one.encode(), "sha256")[:_DIGEST_BYTES]
        return PREFIX + base64.urlsafe_b64encode(digest).decode()
