from pathlib import Path

import polars as pl

from recsys.schema import EFFECTIVE_TIME, EVENT_ID, EVENT_TIME, MERGE_SCHEMA, MERGED_INTO, USER_ID
from recsys.tombstones import Tombstones
from recsys.user_shard import ALL_USERS, UserShard, every_shard, shard_number
from recsys.visitor_merges import living_merges, may_hold, visitors_of, with_merges
from tests.recsys.log_events import NOON, event_rows

MERGES = pl.DataFrame([("v", "ann", NOON), ("v", "bob", NOON + 2)], list(MERGE_SCHEMA), orient="row").cast(
    MERGE_SCHEMA
)


def test_an_event_counts_to_whom_the_visitor_turned_out_to_be_next() -> None:
    rows = [("at", "v", NOON), ("between", "v", NOON + 1), ("after", "v", NOON + 3), ("other", "w", NOON)]
    events = event_rows([EVENT_ID, USER_ID, EVENT_TIME], rows).lazy()
    events = events.with_columns(pl.col(EVENT_TIME).alias(EFFECTIVE_TIME))
    met = with_merges(events, MERGES).collect()
    assert met.select(EVENT_ID, MERGED_INTO).rows() == [
        ("at", "ann"),
        ("between", "bob"),
        ("after", None),
        ("other", None),
    ]
    assert with_merges(events, MERGES.clear()) is events


def test_a_shard_needs_the_visitors_of_its_users_and_the_files_that_may_hold_them() -> None:
    ann, visitor = (UserShard(shard_number(one, 4), 4) for one in ("ann", "v"))
    assert visitors_of(ann, MERGES) == ["v"]
    assert visitors_of(ALL_USERS, MERGES) == []
    found = [one.number for one in every_shard(4) if may_hold(f"day=2024-05-01/a{one.suffix}", ann, ["v"])]
    assert set(found) == {ann.number, visitor.number}


def test_merges_of_the_erased_are_none(tmp_path: Path) -> None:
    tombstones = Tombstones(tmp_path)
    tombstones.add(["ann"], NOON)
    assert living_merges(MERGES, tombstones)[USER_ID].to_list() == ["bob"]
    tombstones.add(["v"], NOON + 2)
    assert living_merges(MERGES, tombstones).is_empty()
