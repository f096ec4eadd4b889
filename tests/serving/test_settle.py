from datetime import UTC, datetime
from pathlib import Path

from recsys.event_log import EventLog
from recsys.workspace import Workspace
from serving.compaction import settle
from serving.event import Event, event_frame
from serving.event_buffer import BUFFER_FILE, SqliteEventBuffer

_TIME_MS = round(datetime(2026, 1, 5, tzinfo=UTC).timestamp() * 1000)


def _event(event_id: str) -> Event:
    return Event(
        event_id=event_id,
        event_type="purchase",
        user_id="ann",
        item_id="tea",
        event_time=_TIME_MS,
        received_time=_TIME_MS,
    )


def _left_behind(workspace: Workspace, *events: Event) -> None:
    """A server took events in and was killed before it moved them."""
    buffer = SqliteEventBuffer(workspace.state / BUFFER_FILE)
    buffer.append(list(events)).result(timeout=10)
    buffer.close()


def _logged(workspace: Workspace) -> list[str]:
    return sorted(EventLog(workspace.events).event_ids().to_list())


def test_what_a_killed_server_left_in_the_buffer_is_in_the_log(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    _left_behind(workspace, _event("a"), _event("b"))
    assert settle(workspace) == 2
    assert _logged(workspace) == ["a", "b"]
    assert settle(workspace) == 0


def test_an_event_that_a_crash_left_in_both_places_counts_once(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    _left_behind(workspace, _event("a"), _event("b"))
    EventLog(workspace.events).append(event_frame([_event("a")]), "ingested")
    assert settle(workspace) == 2
    assert _logged(workspace) == ["a", "b"]
