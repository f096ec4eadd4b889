from pathlib import Path

from recsys.event_log import EventLog
from recsys.log_pruning import prune_log
from recsys.schema import DAY_MS
from tests.recsys.log_events import NOON, ids, purchases


def test_pruning_removes_whole_days_and_may_be_repeated(tmp_path: Path) -> None:
    log, last = EventLog(tmp_path / "events"), NOON + 3 * DAY_MS
    log.append(purchases(("old", NOON, NOON), ("new", last, last)), "a")
    assert (prune_log(log.path, last), prune_log(log.path, last)) == (1, 0)
    assert ids(log.scan()) == {"new"}
    assert len(list((tmp_path / "events").glob("day=*/*.parquet"))) == 1
