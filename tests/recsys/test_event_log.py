from pathlib import Path

import pytest

from recsys.errors import ConfigError, DataError
from recsys.event_log import EventLog
from recsys.schema import EFFECTIVE_TIME, EVENT_ID, EVENT_SCHEMA, EVENT_TIME, USER_ID
from recsys.tombstones import Tombstones
from tests.recsys.log_events import HOUR, NOON, ids, purchases


def test_an_empty_log_has_no_events_and_no_end(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    scanned = log.scan().collect()
    assert scanned.height == 0
    assert dict(scanned.schema) == {**EVENT_SCHEMA, EFFECTIVE_TIME: EVENT_SCHEMA[EVENT_TIME]}
    assert log.scan(NOON).collect().height == 0
    assert log.end_ms() is None
    assert log.event_ids().to_list() == []


def test_the_effective_time_is_the_earlier_of_the_two(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.append(purchases(("late", NOON, NOON + HOUR), ("early", NOON + HOUR, NOON - 1)), "a")
    times = log.scan().sort(EVENT_ID).collect()[EFFECTIVE_TIME].dt.timestamp("ms").to_list()
    assert times == [NOON - 1, NOON]
    assert log.end_ms() == NOON


def test_an_event_is_visible_strictly_after_its_effective_time(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    rows = ("a", NOON, NOON), ("b", NOON + 1, NOON + 1), ("c", NOON + 48 * HOUR, NOON - 1)
    log.append(purchases(*rows), "a")
    assert ids(log.scan(NOON)) == {"c"}
    assert ids(log.scan(NOON + 1)) == {"a", "c"}
    assert ids(log.scan(NOON + 2)) == {"a", "b", "c"}
    assert ids(log.scan(NOON - 1)) == set()


def test_events_lie_in_the_partition_of_their_day(tmp_path: Path) -> None:
    EventLog(tmp_path).append(purchases(("a", NOON, NOON), ("b", NOON + 24 * HOUR, NOON)), "first")
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.parquet"))
    assert files == ["day=2024-05-01/first.parquet", "day=2024-05-02/first.parquet"]


def test_what_was_appended_comes_back_unchanged(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    before = purchases(("a", NOON, NOON), ("b", NOON + 30 * HOUR, NOON + 30 * HOUR))
    log.append(before, "a")
    assert log.scan().drop(EFFECTIVE_TIME).sort(EVENT_ID).collect().equals(before)


def test_appending_a_name_twice_adds_nothing(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.append(purchases(("a", NOON, NOON)), "same")
    log.append(purchases(("b", NOON, NOON)), "same")
    log.append(purchases(("c", NOON + 1, NOON + 1)), "other")
    assert sorted(log.event_ids()) == ["a", "c"]
    assert log.end_ms() == NOON + 1


def test_appending_nothing_is_remembered_by_its_name(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.append(purchases(), "empty")
    log.append(purchases(("a", NOON, NOON)), "empty")
    assert log.scan().collect().height == 0
    assert log.end_ms() is None


def test_a_half_written_append_is_invisible_and_the_next_one_removes_it(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.append(purchases(("a", NOON, NOON)), "whole")
    half = tmp_path / "day=2024-05-01" / "half.parquet"
    purchases(("x", NOON, NOON)).write_parquet(half)
    scratch = half.parent / ".half.parquet.abc"
    scratch.mkdir()
    (scratch / "half.parquet").write_bytes(b"PAR1")
    assert ids(log.scan()) == {"a"}
    log.append(purchases(("b", NOON, NOON)), "next")
    assert ids(log.scan()) == {"a", "b"}
    assert not half.exists()
    assert not scratch.exists()


def test_an_append_that_fails_leaves_nothing_visible_and_can_be_repeated(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    blocked = tmp_path / "day=2024-05-02"
    blocked.write_text("a file where a directory must go")
    with pytest.raises(FileExistsError):
        log.append(purchases(("a", NOON, NOON), ("b", NOON + 24 * HOUR, NOON + 24 * HOUR)), "both")
    assert log.scan().collect().height == 0
    blocked.unlink()
    log.append(purchases(("a", NOON, NOON), ("b", NOON + 24 * HOUR, NOON + 24 * HOUR)), "both")
    assert ids(log.scan()) == {"a", "b"}


def test_a_lost_file_and_a_damaged_commit_are_errors_of_the_data(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.append(purchases(("a", NOON, NOON)), "a")
    file = tmp_path / "day=2024-05-01" / "a.parquet"
    file.rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"a\.parquet"):
        log.scan()
    (tmp_path / "_commits" / "a.json").write_text('{"first_ms"')
    with pytest.raises(DataError, match=r"a\.json"):
        log.end_ms()


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".hidden", "a" * 201])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="append name"):
        EventLog(tmp_path).append(purchases(("a", NOON, NOON)), name)


def test_a_frame_with_other_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="EVENT_SCHEMA"):
        EventLog(tmp_path).append(purchases(("a", NOON, NOON)).drop(USER_ID), "a")


def test_without_its_key_nobody_can_tell_who_was_erased_so_nothing_is_read(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    log.append(purchases(("one", NOON, NOON)), "a")
    Tombstones(tmp_path).add(["somebody"], NOON)
    (tmp_path / "privacy" / "digests.key").unlink()
    with pytest.raises(ConfigError):
        EventLog(tmp_path / "events").scan()
