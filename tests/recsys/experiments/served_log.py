"""Logs of served lists that tests write, and an audit log whose times they choose."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from recsys.experiments.audit import append_audit
from recsys.experiments.registry import ExperimentRegistry
from recsys.schema import SERVED_LIST_SCHEMA
from recsys.workspace import Workspace

MARCH = datetime(2026, 3, 1, tzinfo=UTC)


def served(
    number: int, user: str | None, arm: str, time: datetime, version: int | None, **others: Any
) -> dict[str, Any]:  # a row
    """A list of the experiment ``e``; ``version`` is ``None`` for one of before it was kept."""
    return {
        "list_id": str(number),
        "served_time": time,
        "subject": user,
        "model_version": "m1",
        "service_level": "FULL",
        "first_position": 0,
        "arms": [{"experiment": "e", "arm": arm, "version": version}],
        "forced": [],
        "server": "s",
        "server_sequence": number,
        "substituted": None if version is None else [],
        **others,
    }


def write_served(workspace: Workspace, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write them as one exported file."""
    folder = workspace.served_lists / "day=2026-03-01"
    folder.mkdir(parents=True, exist_ok=True)
    number = len(list(folder.iterdir()))
    pl.DataFrame(list(rows), schema=SERVED_LIST_SCHEMA).write_parquet(folder / f"lists-{number}.parquet")


def retime(registry: ExperimentRegistry, times: Sequence[datetime]) -> None:
    """Let the entries of the audit log have happened at other times."""
    entries = registry.audit()
    registry.audit_file.unlink()
    for entry, time in zip(entries, times, strict=True):
        append_audit(registry.audit_file, entry.model_copy(update={"time": time}))
