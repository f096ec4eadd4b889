"""Moments as this project stores them, milliseconds since the epoch, turned into what people read."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc(time_ms: int) -> datetime:
    """The moment in UTC, exact to the millisecond."""
    return _EPOCH + timedelta(milliseconds=time_ms)


def iso(time_ms: int) -> str:
    """The moment in ISO 8601, with milliseconds where it has some; a flag such as ``--until`` takes it."""
    precision = "milliseconds" if time_ms % 1000 else "seconds"
    return utc(time_ms).isoformat(timespec=precision).replace("+00:00", "Z")
