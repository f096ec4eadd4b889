from pathlib import Path

import pytest

from recsys.remote.kafka_ranges import doubling
from recsys.remote.pull import pull
from recsys.remote.push import push
from recsys.remote.torn import torn_error
from tests.recsys.remote.shops import Shop, new_store


@pytest.mark.parametrize(
    ("name", "doubles"),
    [
        ("log/kafka-t-0-100-149", True),
        ("log/kafka-t-0-150-300", True),
        ("log/kafka-t-0-0-1000", True),
        ("log/kafka-t-0-200-299", False),
        ("log/kafka-t-0-0-99", False),
        ("log/kafka-t-1-100-149", False),
        ("log/kafka-other-0-100-149", False),
        ("log/kafka-t-0-100-199", False),
        ("log/buffer-x-100-149", False),
        ("items", False),
    ],
)
def test_offsets_that_an_append_of_another_name_covers_are_found(name: str, doubles: bool) -> None:
    known = ["log/kafka-t-0-100-199", "log/kafka-t-0-400-499", "log/a", "pointers"]
    assert (name in doubling([name], known)) is doubles


def test_records_that_consumers_of_two_machines_read_are_in_no_log_twice(tmp_path: Path) -> None:
    store = new_store(kind="file", root=tmp_path)
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")
    one.buy("kafka-t-0-0-1", ("e0", "ann"), ("e1", "ann"))
    push(one.workspace, store)
    pull(other.workspace, store)
    one.buy("kafka-t-0-2-3", ("e2", "ann"), ("e3", "ann"))  # its machine dies before it pushes
    other.buy("kafka-t-0-2-2", ("e2", "ann"))
    other.buy("kafka-t-0-3-4", ("e3", "ann"), ("e4", "ann"))
    push(other.workspace, store)
    pushed = push(one.workspace, store)
    assert pushed.num_units == 0
    assert pushed.torn.keys() == {"log/kafka-t-0-2-3"}
    assert "shares no log" in str(torn_error(store.url, pushed.torn))
    assert len(pull(one.workspace, store).torn) == 2
    for shop in (one, other):
        assert shop.log.event_ids().is_unique().all()
    for name in ("events", ".remote"):
        (one.workspace.root / name).rename(tmp_path / f"aside-{name}")
    assert pull(one.workspace, store).torn == {}
    assert sorted(one.log.event_ids()) == ["e0", "e1", "e2", "e3", "e4"]
