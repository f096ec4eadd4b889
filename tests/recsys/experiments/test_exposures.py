from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from recsys.experiments.exposures import arms_of, read_exposures, scan_served_lists
from recsys.experiments.repeated_lists import once_per_call
from recsys.schema import MERGE_SCHEMA, SERVED_LIST_SCHEMA
from recsys.workspace import Workspace

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
V = "\x1fvisitor:v"


def served(*rows: tuple[str | None, int, str | None, str]) -> pl.LazyFrame:
    """Lists of (subject, minutes after noon, arm of experiment e, mark); numbers go up from 1."""
    return pl.DataFrame(
        [
            {
                "list_id": str(number),
                "served_time": NOON + timedelta(minutes=minutes),
                "subject": subject,
                "arms": [{"experiment": "e", "arm": arm}, {"experiment": "f", "arm": "x"}] if arm else [],
                "forced": ["e"] if mark == "forced" else [],
                "server": "s",
                "server_sequence": number,
            }
            for number, (subject, minutes, arm, mark) in enumerate(rows, 1)
            if mark != "lost"
        ],
        schema=SERVED_LIST_SCHEMA,
    ).lazy()


LISTS = served(
    ("a", 5, "t", ""),
    ("a", 1, "t", ""),
    ("b", 2, "control", ""),
    ("b", 3, None, ""),
    ("c", 1, "control", ""),
    ("c", 2, "t", ""),
    ("d", 1, "t", "forced"),
    (None, 1, "t", ""),
    ("e", 1, "t", "lost"),
    (V, 0, "control", ""),
    ("u", 9, "control", ""),
)


def test_units_are_counted_once_with_their_first_exposure() -> None:
    found = read_exposures(LISTS, "e")
    rows = {unit: (arm, first, lists) for unit, arm, first, lists in found.units.iter_rows()}
    assert rows["a"] == ("t", NOON + timedelta(minutes=1), 2)
    assert rows["b"] == ("control", NOON + timedelta(minutes=2), 1)
    assert set(rows) == {"a", "b", V, "u"}
    assert arms_of(found, ["control", "t", "empty"]) == {"control": 3, "t": 1, "empty": 0}


def test_what_is_left_out_is_reported() -> None:
    found = read_exposures(LISTS, "e")
    assert found.mixed.row(0) == ("c", ["control", "t"], NOON + timedelta(minutes=1))
    assert found.mixed_by_arm() == {"control": 1, "t": 1}
    assert (found.num_forced, found.num_anonymous, found.num_lost) == (1, 1, 1)


def test_what_retention_prunes_is_not_lost() -> None:
    kept = LISTS.filter(pl.col("server_sequence") > 3)
    assert read_exposures(kept, "e").num_lost == 1


def test_a_visitor_who_logs_in_counts_as_the_user_from_the_start() -> None:
    merges = pl.DataFrame([(V, "u", NOON + timedelta(minutes=8))], schema=MERGE_SCHEMA, orient="row")
    found = read_exposures(LISTS, "e", merges=merges)
    assert found.units.filter(unit_id="u").row(0) == ("u", "control", NOON, 2)
    earlier = merges.with_columns(merge_time=pl.col("merge_time") - pl.duration(hours=1))
    assert read_exposures(LISTS, "e", merges=earlier).units.filter(unit_id="u").row(0) == found.units.filter(
        unit_id="u"
    ).row(0)


def test_a_version_counts_from_its_start_on() -> None:
    found = read_exposures(LISTS, "e", since=NOON + timedelta(minutes=2), until=NOON + timedelta(minutes=9))
    assert dict(found.units.select("unit_id", "arm").iter_rows()) == {"a": "t", "b": "control", "c": "t"}
    assert read_exposures(LISTS, "nobody").units.is_empty()


def test_files_of_before_and_of_now_are_read_together(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert scan_served_lists(workspace).collect().is_empty()
    now = LISTS.collect()
    unversioned = pl.col("arms").list.eval(
        pl.struct(pl.element().struct.field("experiment"), pl.element().struct.field("arm"))
    )
    before = now.drop("forced", "policy", "server", "server_sequence", "substituted")
    for day, frame in enumerate((now, before.with_columns(unversioned))):
        path = workspace.served_lists / f"day=2026-03-0{day + 1}" / "lists-1-9.parquet"
        path.parent.mkdir(parents=True)
        frame.write_parquet(path)
    found = read_exposures(scan_served_lists(workspace), "e")
    assert (found.num_forced, found.num_lost) == (1, 1)
    assert found.units.filter(unit_id="a")["num_lists"].item() == 4


@pytest.mark.parametrize("subject", ["a", "b"])
def test_a_units_lists_name_one_arm(subject: str) -> None:
    assert read_exposures(LISTS.filter(pl.col("subject") == subject), "e").mixed.is_empty()


def test_lists_of_one_call_that_was_made_again_count_once_and_are_not_lost() -> None:
    calls = pl.Series("request_id", ["call-1", "call-1", "page", "page", "call-1", None])
    rows = [
        (None, 0, "t", ""),
        (None, 1, "t", ""),
        *[(None, 2, "t", "")] * 2,
        ("a", 3, "t", ""),
        ("b", 0, "t", ""),
    ]
    lists = served(*rows).collect().with_columns(calls).lazy()
    assert sorted(once_per_call(lists).collect()["list_id"]) == ["2", "3", "4", "5", "6"]
    found = read_exposures(lists, "e")
    assert (found.num_anonymous, found.num_lost) == (3, 0)
