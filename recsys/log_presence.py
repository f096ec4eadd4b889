"""Whether a workspace has events at all: one that pulled models alone has none, and is told what to bring."""

from recsys.errors import DataError
from recsys.event_log import EventLog
from recsys.remote.record import known_url
from recsys.workspace import Workspace


def require_events(workspace: Workspace) -> None:
    """Refuse what is worked out from the event log where there is none.

    Raises:
        DataError: No event was taken in or brought here.
    """
    if EventLog(workspace.events).end_ms() is not None:
        return
    url = known_url(workspace)
    brought = "this workspace pulled models alone; " if url is not None else ""
    raise DataError(
        f"{workspace.events} holds no events, from which histories and popularity are worked out; {brought}"
        f"bring them with: recsys remote pull {url or 'URL'} --only data --workspace {workspace.root}; "
        "or take some in: recsys ingest"
    )
