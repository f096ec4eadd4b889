"""Reports about blurbs, in the RESP server: enough of them by different shoppers hide a blurb from everybody.

It stays hidden until it is published anew, which happens when a person approved it.
"""

import hashlib
from contextlib import suppress
from datetime import timedelta
from typing import Final

from redis.exceptions import WatchError

from recsys.errors import FieldViolation, InvalidRequestError, StoreError
from serving.blurb_store import BlurbKeys
from serving.cluster_client import STORE_ERRORS, StoreClient, transaction

_KEPT: Final = timedelta(days=90)
_MAX_ATTEMPTS: Final = 20  # of a transaction that others come in between


class BlurbReports:
    """Counts reports; every shopper counts once per blurb."""

    def __init__(self, client: StoreClient, tenant: str, hide_after: int) -> None:
        """Count.

        Args:
            client: Stays the caller's to close.
            tenant: Whose blurbs.
            hide_after: Reports from which a blurb is hidden.
        """
        self._client, self._hide_after = client, hide_after
        self._keys = BlurbKeys(tenant)

    async def add(self, blurb_id: str, subject: str) -> tuple[bool, bool]:
        """Take a report.

        Args:
            blurb_id: The blurb.
            subject: Who reports, see ``serving.event.subject``; only a hash of it is kept, another one for
                every blurb.

        Returns:
            Whether it counts, and whether the blurb is hidden.

        Raises:
            InvalidRequestError: There never was such a blurb, or it was shown too long ago.
            StoreError: The store did not answer.
        """
        reporter = hashlib.blake2b(f"{blurb_id}\n{subject}".encode(), digest_size=16).hexdigest()
        try:
            for _ in range(_MAX_ATTEMPTS):
                with suppress(WatchError):
                    return await self._try_add(blurb_id, reporter)
        except STORE_ERRORS as error:
            raise _no_answer(error) from error
        raise StoreError("too many reports of one blurb came at once; report it again")

    async def _try_add(self, blurb_id: str, reporter: str) -> tuple[bool, bool]:
        """Take a report unless others come in between; without a script, which few stores should allow."""
        reports, hidden = self._keys.reports(blurb_id), self._keys.hidden
        async with transaction(self._client, reports) as pipe:
            await pipe.watch(reports, hidden)
            if await pipe.sismember(hidden, blurb_id):
                return False, True
            if not await pipe.exists(self._keys.known(blurb_id)):
                problem = f"expected the id of a blurb that was shown, got {blurb_id}; send it as it came"
                raise InvalidRequestError(FieldViolation("blurb_id", problem))
            is_new = not await pipe.sismember(reports, reporter)
            hides = await pipe.scard(reports) + is_new >= self._hide_after
            pipe.multi()  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated
            pipe.sadd(reports, reporter)
            pipe.expire(reports, _KEPT)
            if hides:
                pipe.sadd(hidden, blurb_id)
                pipe.incr(self._keys.version)
                pipe.delete(reports)
            await pipe.execute()
        return is_new, hides

    async def hidden(self) -> frozenset[str]:
        """Ids of the blurbs that are hidden.

        Raises:
            StoreError: The store did not answer.
        """
        try:
            found = await self._client.smembers(self._keys.hidden)
        except STORE_ERRORS as error:
            raise _no_answer(error) from error
        return frozenset(each.decode() for each in found if isinstance(each, bytes))


def _no_answer(error: Exception) -> StoreError:
    return StoreError(f"the store did not answer: {type(error).__name__}")
