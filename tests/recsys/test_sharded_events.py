"""Events taken in in parts: what taking them in whole comes to."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys.columns import REASON
from recsys.damaged_files import DamagedFiles
from recsys.errors import ConfigError, DataError
from recsys.event_log import EventLog
from recsys.fault_point import EXIT_CODE
from recsys.ingest import IngestSummary, TableSummary, ingest
from recsys.log_erasure import forget_erased
from recsys.runner import Result, Runner, Shard
from recsys.schema import DAY_MS, EVENT_ID, EVENT_SCHEMA
from recsys.tombstones import Tombstones
from recsys.workspace import Workspace

NOON = int(datetime(2024, 5, 1, 12, tzinfo=UTC).timestamp() * 1000)
_NUM_PARTS = 3


@dataclass(frozen=True)
class Parts:
    """Parts in this process, each worked on as often as one is whose node was lost at the end."""

    num_shards: int = _NUM_PARTS

    def run(self, task: Callable[[Shard], Result], shards: Sequence[Shard], label: str) -> list[Result]:
        """See ``recsys.runner.Runner``."""
        assert label
        return [[task(shard) for _ in range(2)][-1] for shard in shards]


@dataclass(frozen=True)
class Interrupted(Parts):
    """The same, and something happens once the files for the log are written."""

    meanwhile: Callable[[], object] = dict

    def run(self, task: Callable[[Shard], Result], shards: Sequence[Shard], label: str) -> list[Result]:
        """See ``recsys.runner.Runner``."""
        results = super().run(task, shards, label)
        if label == "writing the log":
            self.meanwhile()
        return results


def write_shop(directory: Path, num_events: int = 40) -> tuple[Path, Path]:
    """Items and a directory of event files of all kinds: with bad rows and lines, and ids that come again."""
    items, events = directory / "items.jsonl", directory / "events"
    events.mkdir(parents=True)
    items.write_text("".join(json.dumps({"item_id": str(i), "title": f"cup {i}"}) + "\n" for i in range(5)))
    rows: list[dict[str, object]] = [
        {
            "event_id": f"e{i % (num_events // 2)}",
            "event_type": "view" if i % 11 else "stare",
            "user_id": f"user{i % 7}",
            "item_id": i % 6,
            "event_time": NOON + 2 * DAY_MS * i // num_events,
        }
        for i in range(num_events)
    ]
    third = num_events // 3
    pl.DataFrame(rows[:third]).write_parquet(events / "a.parquet")
    texts = pl.DataFrame(rows[third : 2 * third]).with_columns(pl.col("event_time").cast(pl.String))
    texts.with_columns(mood=pl.lit("good")).write_csv(events / "b.csv")
    named = [{**row, "event_id": None, "price": 2.5, "extra": {}} for row in rows[2 * third :]]
    lines = [*map(json.dumps, named), "no row at all", json.dumps(named[0])]
    (events / "c.jsonl").write_text("".join(line + "\n" for line in lines))
    return items, events


def take(root: Path, given: tuple[Path, Path], runner: Runner | None, config: str = "") -> IngestSummary:
    root.mkdir(exist_ok=True)
    (root / "recsys.toml").write_text(config, encoding="utf-8")
    return ingest(Workspace(root), *given, now_ms=NOON + 30 * DAY_MS, max_reject_share=0.9, runner=runner)


def told(table: TableSummary) -> tuple[object, ...]:
    return table.read, table.accepted, table.rejected, table.duplicates, table.reasons, table.ignored_columns


def refused(table: TableSummary) -> pl.DataFrame:
    return pl.read_parquet(str(table.rejects)).select("row", REASON)


def logged(root: Path) -> dict[str, list[tuple[object, ...]]]:
    """Rows of each file of the log, by day and shard."""
    files = sorted((root / "events").glob("day=*/*.parquet"))
    parts = {f"{file.parent.name}{file.name.partition('~')[1:]}": file for file in files}
    assert len(parts) == len(files)
    return {name: pl.read_parquet(file, hive_partitioning=False).rows() for name, file in parts.items()}


PSEUDONYMS = '[privacy]\npseudonymise = true\nkey_file = "../key"\n'


@pytest.mark.parametrize("config", ["", "[log]\nnum_shards = 4\n", PSEUDONYMS])
def test_in_parts_comes_to_what_the_whole_comes_to(tmp_path: Path, config: str) -> None:
    given = write_shop(tmp_path / "given")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    one, many = take(whole, given, None, config), take(parts, given, Parts(), config)
    assert told(one.events) == told(many.events)
    assert one.events.duplicates > 1
    assert one.events.ignored_columns == ("mood", "extra")
    assert_frame_equal(refused(one.events), refused(many.events))
    assert logged(whole) == logged(parts)
    assert DamagedFiles(parts / "events").find() == []
    assert not list((parts / "events").glob(".ingest*"))


@pytest.mark.parametrize("runners", [(Parts(), None), (None, Parts()), (Parts(2), Parts(5))])
def test_what_is_taken_in_again_is_all_known(
    tmp_path: Path, runners: tuple[Parts | None, Parts | None]
) -> None:
    given = write_shop(tmp_path / "given")
    first, again = (take(tmp_path / "shop", given, runner) for runner in runners)
    assert (again.events.accepted, again.events.rejected) == (0, first.events.rejected)
    assert again.events.duplicates == first.events.accepted + first.events.duplicates
    assert EventLog(tmp_path / "shop" / "events").event_ids().len() == first.events.accepted


def test_what_comes_to_the_log_by_another_way_meanwhile_is_not_there_twice(tmp_path: Path) -> None:
    given = write_shop(tmp_path / "given")
    expected = take(tmp_path / "expected", given, None)
    log = EventLog(tmp_path / "shop" / "events")

    def other_way() -> None:
        mine = EventLog(tmp_path / "expected" / "events").scan().select(EVENT_SCHEMA.names()).collect()
        log.append(mine.head(3), "other")

    with pytest.raises(DataError, match="3 of the events came to the log by another way"):
        take(tmp_path / "shop", given, Interrupted(meanwhile=other_way))
    assert log.event_ids().len() == 3
    again = take(tmp_path / "shop", given, Parts())
    assert again.events.accepted == expected.events.accepted - 3
    assert log.event_ids().n_unique() == log.event_ids().len() == expected.events.accepted


def test_who_is_erased_after_the_files_were_written_is_in_no_file_of_the_log(tmp_path: Path) -> None:
    def erase() -> None:
        Tombstones(tmp_path / "shop").add(["user3"], NOON + 30 * DAY_MS)

    take(tmp_path / "shop", write_shop(tmp_path / "given"), Interrupted(meanwhile=erase))
    users = [row[2] for rows in logged(tmp_path / "shop").values() for row in rows]
    assert "user3" not in users
    assert "user4" in users


def test_the_rows_of_one_file_are_cut_too(tmp_path: Path) -> None:
    items, events = write_shop(tmp_path / "given")
    for runner, root in ((None, tmp_path / "whole"), (Parts(7), tmp_path / "parts")):
        take(root, (items, events / "a.parquet"), runner)
    assert logged(tmp_path / "whole") == logged(tmp_path / "parts")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.csv", b"event_type\nview\n"),
        ("d.parquet", b"PAR1 no more"),
        ("d.parquet", b""),
        ("d.txt", b"x"),
        ("d.jsonl", b'{"user_id": 1.5}\n'),
    ],
)
def test_files_that_cannot_be_read_are_refused_in_the_same_words(
    tmp_path: Path, name: str, content: bytes
) -> None:
    items, _ = write_shop(tmp_path / "given")
    (alone := tmp_path / "alone").mkdir()
    (alone / name).write_bytes(content)
    words = []
    for runner, root in ((None, tmp_path / "whole"), (Parts(), tmp_path / "parts")):
        with pytest.raises(DataError) as refused_alone:
            take(root, (items, alone), runner)
        words.append(str(refused_alone.value))
    assert words[0] == words[1]
    assert not EventLog(tmp_path / "parts" / "events").names()


def test_too_many_bad_rows_publish_nothing_and_leave_nothing(tmp_path: Path) -> None:
    given = write_shop(tmp_path / "given")
    with pytest.raises(DataError, match="nothing was published"):
        ingest(Workspace(tmp_path / "shop"), *given, now_ms=NOON + 30 * DAY_MS, runner=Parts())
    assert not Workspace(tmp_path / "shop").items.exists()
    assert [path.name for path in (tmp_path / "shop" / "events").iterdir()] == []


def test_who_was_erased_does_not_come_back(tmp_path: Path) -> None:
    given = write_shop(tmp_path / "given")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for root in (whole, parts):
        root.mkdir()
        Tombstones(root).add(["user3"], NOON + DAY_MS)
    take(whole, given, None)
    take(parts, given, Parts())
    assert logged(whole) == logged(parts)
    assert forget_erased(parts / "events") == []


@pytest.mark.parametrize("point", ["log-written:1", "log-committed:1"])
def test_whoever_is_killed_adds_all_or_nothing_and_the_same_again_completes_it(
    tmp_path: Path, point: str
) -> None:
    given, root = write_shop(tmp_path / "given"), tmp_path / "shop"
    code = "import sys; from pathlib import Path; from tests.recsys.test_sharded_events import Parts, take; "
    code += "take(Path(sys.argv[1]), (Path(sys.argv[2]), Path(sys.argv[3])), Parts())"
    command = [sys.executable, "-c", code, str(root), *map(str, given)]
    ended = subprocess.run(command, env=os.environ | {"RECSYS_FAULT": point}, check=False)
    assert ended.returncode == EXIT_CODE
    left = EventLog(root / "events").event_ids().len()
    take(root, given, Parts())
    whole = take(tmp_path / "whole", given, None)
    assert left == (whole.events.accepted if point.startswith("log-committed") else 0)
    found = EventLog(root / "events").scan().sort(EVENT_ID).collect()
    assert_frame_equal(found, EventLog(tmp_path / "whole" / "events").scan().sort(EVENT_ID).collect())
    assert not list((root / "events").glob(".ingest*"))


def test_another_format_is_not_read_in_parts(tmp_path: Path) -> None:
    items, events = write_shop(tmp_path / "given")
    with pytest.raises(ConfigError, match="--engine local"):
        ingest(Workspace(tmp_path / "shop"), items, events, format="metarank", runner=Parts())
