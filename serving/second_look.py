"""Looking again for what another process may still be writing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def look_again(look: Callable[[], Awaitable[T | None]], *, looks: int, seconds: float) -> T | None:
    """What a look finds, or ``None`` when none of them does.

    Args:
        look: Looks once; ``None`` asks for another look.
        looks: Most looks, at least 1.
        seconds: Time from the end of one to the next.
    """
    for left in reversed(range(looks)):
        if (found := await look()) is not None:
            return found
        if left:
            await asyncio.sleep(seconds)
    return None
