"""Tests of looking again."""

import asyncio

import pytest

from serving.second_look import look_again


@pytest.mark.parametrize(
    ("found_at", "looks", "expected", "looked"), [(1, 3, 1, 1), (3, 3, 3, 3), (4, 3, None, 3)]
)
def test_it_looks_until_something_is_found_or_it_has_looked_enough(
    found_at: int, looks: int, expected: int | None, looked: int
) -> None:
    seen: list[None] = []

    async def look() -> int | None:
        seen.append(None)
        return len(seen) if len(seen) >= found_at else None

    assert asyncio.run(look_again(look, looks=looks, seconds=0)) == expected
    assert len(seen) == looked
