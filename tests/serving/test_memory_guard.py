"""Tests of the watch over memory."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from serving.memory_guard import MemoryGuard, Reading, control_group
from serving.overload import Pressure


@pytest.mark.parametrize(
    ("used", "expected"),
    [(0, Pressure.NONE), (84, Pressure.NONE), (85, Pressure.HIGH), (95, Pressure.CRITICAL)],
)
def test_pressure_follows_from_the_share_that_is_used(used: int, expected: Pressure) -> None:
    guard = MemoryGuard(lambda: (used, 100))
    guard.look()
    assert guard.pressure is expected


def test_every_change_is_logged_once_and_relief_too() -> None:
    readings: list[Reading] = [(90, 100), (91, 100), (99, 100), (10, 100), (10, 100)]
    guard = MemoryGuard(lambda: readings.pop(0))
    with capture_logs() as lines:
        for _ in range(5):
            guard.look()
    assert [line["pressure"] for line in lines] == ["HIGH", "CRITICAL", "NONE"]


def test_without_a_limit_there_is_no_pressure() -> None:
    guard = MemoryGuard(lambda: None)
    guard.look()
    assert guard.pressure is Pressure.NONE


def test_files_that_can_be_dropped_are_not_counted(tmp_path: Path) -> None:
    for name, text in {
        "memory.current": "900\n",
        "memory.max": "1000\n",
        "memory.stat": "anon 100\ninactive_file 300\n",
    }.items():
        (tmp_path / name).write_text(text, encoding="ascii")
    assert control_group(root=tmp_path) == (600, 1000)


def test_the_older_kind_of_control_groups_is_read_too(tmp_path: Path) -> None:
    group = tmp_path / "memory"
    group.mkdir()
    (group / "memory.usage_in_bytes").write_text("700", encoding="ascii")
    (group / "memory.limit_in_bytes").write_text("1000", encoding="ascii")
    (group / "memory.stat").write_text("total_inactive_file 200\n", encoding="ascii")
    assert control_group(root=tmp_path) == (500, 1000)


@pytest.mark.parametrize("limit", ["max", str(1 << 62), None])
def test_a_group_without_a_limit_has_no_reading(limit: str | None, tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("900", encoding="ascii")
    if limit is not None:
        (tmp_path / "memory.max").write_text(limit, encoding="ascii")
    assert control_group(root=tmp_path) is None


def test_a_limit_of_its_own_counts_what_the_process_holds() -> None:
    reading = control_group(limit_bytes=5 << 30)
    assert reading is not None
    used, limit = reading
    assert limit == 5 << 30
    assert 1 << 20 < used < 1 << 40
