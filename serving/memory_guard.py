"""Watches how much memory is left, so that the process refuses calls before it is killed."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from serving.overload import Pressure

_EVERY_SECONDS: Final = 0.25
_HIGH, _CRITICAL = 0.85, 0.95
_log = structlog.get_logger(__name__)

Reading = tuple[int, int]
"""Bytes that are used and that may be."""


class MemoryGuard:
    """Says how short of memory the process is."""

    def __init__(self, read: Callable[[], Reading | None]) -> None:
        """Watch.

        Args:
            read: The memory used and the limit; ``None`` where there is no limit.
        """
        self._read = read
        self.pressure = Pressure.NONE
        """As of the last look."""

    def look(self) -> None:
        """Read once."""
        reading = self._read()
        if reading is None:
            return
        share = reading[0] / reading[1]
        before, self.pressure = self.pressure, _pressure(share)
        if self.pressure is not before:
            _log.warning("the use of memory changed", pressure=self.pressure.name, share=round(share, 3))

    async def run(self) -> None:
        """Read a few times a second until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_EVERY_SECONDS)


def _pressure(share: float) -> Pressure:
    if share >= _CRITICAL:
        return Pressure.CRITICAL
    return Pressure.HIGH if share >= _HIGH else Pressure.NONE


def control_group(limit_bytes: int | None = None, root: Path = Path("/sys/fs/cgroup")) -> Reading | None:
    """What the process's control group uses, without files that can be dropped, and its limit.

    Args:
        limit_bytes: Another limit than the group's, for this process alone.
        root: Where control groups are mounted.
    """
    if limit_bytes is not None:
        return _resident_bytes(), limit_bytes
    for used, most, stat in (
        ("memory.current", "memory.max", "inactive_file"),
        ("memory/memory.usage_in_bytes", "memory/memory.limit_in_bytes", "total_inactive_file"),
    ):
        limit = _number(root / most)
        current = _number(root / used)
        if limit is None or current is None or limit > 1 << 60:
            continue
        return current - _stat((root / used).with_name("memory.stat"), stat), limit
    return None


def _resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such file, or "max"
        return None


def _stat(path: Path, name: str) -> int:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [name]), 0)
