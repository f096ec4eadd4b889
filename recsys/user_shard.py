"""Which part of the event log a user belongs to: a hash of the id, the same everywhere and for ever.

A log may be cut into so many parts, and read in parts of another number: that only costs more reading. So a
change of the number is no moment at which anything stands still.
"""

import re
from dataclasses import dataclass
from hashlib import blake2b
from math import gcd

import polars as pl

_IN_A_NAME = re.compile(r"~(\d+)-of-(\d+)\.parquet")


@dataclass(frozen=True)
class UserShard:
    """One part of all users, of so many of about the same size."""

    number: int
    """From 0 on."""
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.count:
            raise ValueError(f"expected a shard from 0 to {self.count - 1}, got {self.number}")

    @property
    def suffix(self) -> str:
        """What the names of its files end with; the file of all users has no number in its name."""
        return ".parquet" if self.count == 1 else f"~{self.number}-of-{self.count}.parquet"

    @classmethod
    def of_file(cls, name: str) -> "UserShard":
        """Whose events a file of the log holds."""
        found = _IN_A_NAME.search(name)
        return cls(int(found[1]), int(found[2])) if found else ALL_USERS

    def shares_users_with(self, other: "UserShard") -> bool:
        """Whether somebody may be in both; of the same number of parts, only in the same one."""
        return (self.number - other.number) % gcd(self.count, other.count) == 0

    def has(self, ids: pl.Expr) -> pl.Expr:
        """Whether the users of a column of ids belong to it."""
        if self.count == 1:
            return pl.lit(value=True)
        number = ids.map_batches(self._numbers, pl.UInt32, is_elementwise=True)
        return number == self.number

    def _numbers(self, ids: pl.Series) -> pl.Series:
        return shard_numbers(ids, self.count)


ALL_USERS = UserShard(0, 1)


def every_shard(count: int) -> list[UserShard]:
    """All parts, by number."""
    return [UserShard(number, count) for number in range(count)]


def shard_number(user_id: str, count: int) -> int:
    """The part of a user: the first 8 bytes of BLAKE2b of the id, big-endian, modulo the number of parts.

    >>> [shard_number(user_id, 16) for user_id in ("ann", "bob", "")]
    [5, 2, 4]

    Source: RFC 7693. Not Python's ``hash``, which differs from process to process, nor Polars', which may
    differ from version to version.
    """
    return int.from_bytes(blake2b(user_id.encode(), digest_size=8).digest()) % count


def shard_numbers(user_ids: pl.Series, count: int) -> pl.Series:
    """``shard_number`` of a column without nulls."""
    if user_ids.is_empty():
        return pl.Series(user_ids.name, dtype=pl.UInt32)  # replacing nothing would leave texts
    distinct = user_ids.unique()
    numbers = pl.Series([shard_number(user_id, count) for user_id in distinct], dtype=pl.UInt32)
    return user_ids.replace_strict(distinct, numbers, return_dtype=pl.UInt32)
