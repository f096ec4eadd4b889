"""Appends from a partition of a topic that cover the same offsets under different names: they double events.

Consumers begin behind what their own log names. Those of machines that share no log may read records twice.
"""

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable
from typing import TypeAlias

_NAME = re.compile(r"log/kafka-(.+-\d+)-(\d+)-(\d+)")
_Range: TypeAlias = tuple[int, int]
DOUBLING = (
    "records of a topic were read here and by a consumer on a machine that shares no log with this one; keep "
    "events/ and .remote/ of here aside and pull: the consumer goes on behind what came, and loses nothing"
)
"""What to do about them."""


def doubling(names: Iterable[str], known: Collection[str]) -> list[str]:
    """Those of some appends whose offsets an append of another name covers too.

    Args:
        names: Units that are to be sent or brought; only those of appends from topics matter.
        known: Units where they are to go; two of these cover no offset together.
    """
    ranges: dict[str, list[_Range]] = {}
    for partition, covered in filter(None, map(_parse, known)):
        ranges.setdefault(partition, []).append(covered)
    for found in ranges.values():
        found.sort()
    return [name for name in names if name not in known and _is_covered(name, ranges)]


def _parse(name: str) -> tuple[str, _Range] | None:
    found = _NAME.fullmatch(name)
    return (found[1], (int(found[2]), int(found[3]))) if found else None


def _is_covered(name: str, ranges: dict[str, list[_Range]]) -> bool:
    if (parsed := _parse(name)) is None:
        return False
    partition, (first, last) = parsed
    others = ranges.get(partition, [])
    before = bisect_right(others, last, key=lambda other: other[0])
    return before > 0 and others[before - 1][1] >= first
