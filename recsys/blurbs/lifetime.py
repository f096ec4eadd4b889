"""How long texts and refusals last. Times are milliseconds, of the wall's clock."""

import random
from datetime import timedelta
from typing import Final

_HOUR_MS: Final = 3_600_000
_MOST_HOURS: Final = 24
_SPREAD: Final = 0.1


def varied(duration: timedelta, draw: random.Random) -> int:
    """The duration, 10 % shorter to 10 % longer: what was made together does not end together."""
    return round(duration.total_seconds() * 1000 * draw.uniform(1 - _SPREAD, 1 + _SPREAD))


def retry_ms(attempts: int, draw: random.Random) -> int:
    """How long a refused request rests: an hour, twice as long every time, a day at most."""
    hours = min(_MOST_HOURS, 2 ** min(attempts, 10))
    return min(_MOST_HOURS * _HOUR_MS, max(_HOUR_MS, varied(timedelta(hours=hours), draw)))
