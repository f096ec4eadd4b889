"""Reports about blurbs, in the RESP server: enough of them by different shoppers hide a blurb from everybody.

It stays hidden until it is published anew, which happens when a person approved it.
"""

import hashlib
from datetime import timedelta
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from recsys.errors import FieldViolation, InvalidRequestError, StoreError
from serving.blurb_store import BlurbKeys

_KEPT: Final = timedelta(days=90)
_REPORT: Final = """
if redis.call('SISMEMBER', KEYS[2], ARGV[4]) == 1 then return {0, 1} end
if redis.call('EXISTS', KEYS[4]) == 0 then return {-1, 0} end
local is_new = redis.call('SADD', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
if redis.call('SCARD', KEYS[1]) < tonumber(ARGV[2]) then return {is_new, 0} end
redis.call('SADD', KEYS[2], ARGV[4])
redis.call('INCR', KEYS[3])
redis.call('DEL', KEYS[1])
return {is_new, 1}
"""


class BlurbReports:
    """Counts reports; every shopper counts once per blurb."""

    def __init__(self, client: Redis, tenant: str, hide_after: int) -> None:
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
        keys = (
            self._keys.reports(blurb_id),
            self._keys.hidden,
            self._keys.version,
            self._keys.known(blurb_id),
        )
        values = (
            reporter,
            str(self._hide_after),
            str(int(_KEPT.total_seconds())),
            blurb_id,
        )
        try:
            counts, hidden = await self._client.eval(_REPORT, len(keys), *keys, *values)
        except (RedisError, OSError) as error:
            raise _no_answer(error) from error
        if counts < 0:
            problem = f"expected the id of a blurb that was shown, got {blurb_id}; send it as it came"
            raise InvalidRequestError(FieldViolation("blurb_id", problem))
        return bool(counts), bool(hidden)

    async def hidden(self) -> frozenset[str]:
        """Ids of the blurbs that are hidden.

        Raises:
            StoreError: The store did not answer.
        """
        try:
            found = await self._client.smembers(self._keys.hidden)
        except (RedisError, OSError) as error:
            raise _no_answer(error) from error
        return frozenset(each.decode() for each in found if isinstance(each, bytes))


def _no_answer(error: Exception) -> StoreError:
    return StoreError(f"the store did not answer: {type(error).__name__}")
