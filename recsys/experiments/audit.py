"""The audit log of experiments: who started, ramped, stopped or forced what, and when; JSON lines.

What runs now follows from it alone, so there is nothing else that could say otherwise.
"""

import getpass
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from recsys.errors import ConfigError

AUDIT_FILE = "audit.jsonl"
"""Name of the log in the registry's directory of experiments."""
Action = Literal["start", "ramp", "stop", "force"]


class AuditEntry(BaseModel):
    """One line."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    time: datetime
    """UTC."""
    action: Action
    key: str
    """The experiment."""
    version: int
    fingerprint: str = ""
    """``Experiment.fingerprint`` of what was started."""
    coverage: float | None = None
    """From now on; of ``start`` and ``ramp``."""
    unit: str | None = None
    """Whom ``force`` is about."""
    arm: str | None = None
    """What ``force`` gives the unit; ``None`` for what the hash says again."""
    reason: str = ""
    by: str = ""
    """Login name of whoever ran the command, or ``auto-stop``."""


def read_audit(path: Path) -> list[AuditEntry]:
    """All entries, oldest first; a last line that was cut off by a crash is none.

    Raises:
        ConfigError: A line is damaged.
    """
    if not path.exists():
        return []
    entries = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            entries.append(AuditEntry.model_validate_json(line))
        except ValidationError as error:
            raise ConfigError(
                f"line {number} of the audit log {path} is damaged: {error.errors()[0]['msg']}; restore it"
            ) from error
    return entries


def append_audit(path: Path, entry: AuditEntry) -> None:
    """Add a line and have it on disk; the caller holds the lock of the directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
        file.write(json.dumps(entry.model_dump(mode="json", exclude_none=True)).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def now() -> datetime:
    """The moment, for an entry."""
    return datetime.now(UTC)


def login_name() -> str:
    """Who runs this process, as far as the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
