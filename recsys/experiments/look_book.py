"""The book of an experiment's looks, ``registry/experiments/<key>/<version>.looks.jsonl``; it only grows.

What was read is kept so that another reading neither spends alpha twice nor finds another verdict.
"""

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from recsys.errors import ConfigError


class Look(BaseModel):
    """One line of the book."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    time: datetime
    """When it was taken, UTC."""
    data_until: datetime | None = None
    """The end of the data that were read, UTC."""
    units: int
    """Of all arms."""
    fraction: float | None = None
    """Share of the planned units, at most 1; ``None`` without a plan."""
    alpha_spent: float | None = None
    """By this look and those before, of ``group_sequential``."""
    bound: float | None = None
    """What ``|z|`` had to reach, before corrections for several metrics; ``None`` where nothing varies."""
    z: dict[str, float] = {}
    """Of the primary metric, by treatment arm."""
    verdict: Literal["ship", "stop", "continue"]
    arms: dict[str, Literal["ship", "stop", "continue", "blocked"]] = {}
    """Verdicts by treatment arm."""
    reasons: tuple[str, ...] = ()

    @property
    def decides(self) -> bool:
        """Whether the experiment is over with it."""
        return self.verdict in {"ship", "stop"}


def read_looks(path: Path, since: datetime | None = None) -> tuple[Look, ...]:
    """The book; a last line that was cut off by a crash is none.

    Args:
        path: Need not exist.
        since: Only looks from this moment on; ``None`` for all.

    Raises:
        ConfigError: It cannot be read, or a line is damaged.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        looks = [Look.model_validate_json(line) for line in lines]
    except (OSError, ValidationError) as error:
        raise ConfigError(f"the book of looks {path} is damaged: {error}; restore it") from error
    return tuple(look for look in looks if since is None or look.time >= since)


def append_look(path: Path, look: Look) -> None:
    """Add a line and have it on disk; the caller holds a lock.

    Raises:
        ConfigError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
            file.write(json.dumps(look.model_dump(mode="json")).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigError(
            f"the look cannot be kept in {path}: {error}; a verdict that nobody remembers could be asked for "
            "again and again, so none is given: make the file writable"
        ) from error
