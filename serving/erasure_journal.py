"""Erasures under way, on disk with the ids in clear until everything that needs them is done.

It is the one place that still knows whom to erase, so that a crash delays an erasure and never loses it.
"""

import json
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from recsys.digest_names import DIRECTORY
from recsys.errors import DataError
from recsys.workspace import Workspace, atomic_path

_RECEIPT = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Erasure:
    """Whom to erase, and until when."""

    subjects: tuple[str, ...]
    """The user, and every visitor that the user was; see ``serving.event.subject``."""
    erased_ms: int
    """Everything up to this moment goes, in milliseconds since the epoch."""
    receipt_id: str = ""
    """128 random bits in hexadecimal."""
    list_ids: tuple[str, ...] = ()
    """Lists that the person got, whose later pages are to be forgotten; known once they are looked for."""


class ErasureJournal:
    """The erasures of one workspace that are not finished."""

    def __init__(self, workspace: Workspace) -> None:
        self._directory = workspace.root / DIRECTORY / "pending"

    def begin(self, subjects: tuple[str, ...], erased_ms: int) -> Erasure:
        """Write down what is to be done; from now on it will be.

        Raises:
            OSError: It cannot be written.
        """
        erasure = Erasure(subjects, erased_ms, secrets.token_hex(16))
        self._write(erasure)
        return erasure

    def with_lists(self, erasure: Erasure, list_ids: Iterable[str]) -> Erasure:
        """Write down whose pages are to be forgotten, before the list log, which knows it, forgets it.

        Raises:
            OSError: It cannot be written.
        """
        known = tuple(sorted({*erasure.list_ids, *list_ids}))
        more = replace(erasure, list_ids=known)
        if more != erasure and self.is_unfinished(erasure.receipt_id):
            self._write(more)
        return more

    def unfinished(self) -> list[Erasure]:
        """What is to be done; what another process finishes meanwhile may be left out.

        Raises:
            DataError: A file is damaged; it was written in one step, so nobody who crashed did that.
        """
        found = (self._read(path) for path in sorted(self._directory.glob("*.json")))
        return [erasure for erasure in found if erasure is not None]

    def is_unfinished(self, receipt_id: str) -> bool:
        """Whether an erasure is still to be done."""
        return self._path(receipt_id).exists()

    def finish(self, erasure: Erasure) -> None:
        """Forget an erasure, and with it the ids."""
        self._path(erasure.receipt_id).unlink(missing_ok=True)
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _write(self, erasure: Erasure) -> None:
        with atomic_path(self._path(erasure.receipt_id)) as partial:
            partial.write_text(json.dumps(asdict(erasure)), encoding="utf-8")

    def _path(self, receipt_id: str) -> Path:
        if not _RECEIPT.fullmatch(receipt_id):
            raise ValueError("a receipt has 32 hexadecimal digits")
        return self._directory / f"{receipt_id}.json"

    @staticmethod
    def _read(path: Path) -> Erasure | None:
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            subjects = tuple(str(subject) for subject in document["subjects"])
            list_ids = tuple(str(list_id) for list_id in document.get("list_ids", ()))
            return Erasure(subjects, int(document["erased_ms"]), str(document["receipt_id"]), list_ids)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is damaged; order the erasure again and remove it") from error
