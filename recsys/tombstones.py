"""Who was erased, and when: what outlives a person's data, so that no replay brings it back.

A tombstone says nothing of the person to whoever lacks its key, and copying an older backup over the
workspace removes none. Whatever holds data of somebody drops what happened up to that somebody's tombstone;
later data of the same id are a new person's.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import polars as pl

from recsys.digest_names import DigestNames
from recsys.schema import TIMESTAMP

_SUBJECT, _ERASED = "subject", "erased_time"


class Tombstones:
    """The tombstones of one workspace; any thread of any process may call any method.

    All methods raise ``ConfigError`` where there are tombstones and their key is gone: then nobody can tell
    who was erased, and nothing may be read.
    """

    def __init__(self, workspace: Path) -> None:
        """Args: ``workspace``, its root, where nothing need exist yet."""
        self._names = DigestNames(workspace, "tombstones")

    def __len__(self) -> int:
        """How many there are; it only grows."""
        return len(self._names)

    def look_again(self) -> None:
        """See what other machines added, where a shared file system answers from memory for a while."""
        self._names.look_again()

    def add(self, subjects: Iterable[str], erased_ms: int) -> None:
        """Make tombstones; they are on disk when this returns.

        Args:
            subjects: Ids as in ``user_id`` of events.
            erased_ms: Everything up to this moment is erased, in milliseconds since the epoch.

        Raises:
            OSError: They cannot be written.
        """
        self._names.add(dict.fromkeys(subjects, erased_ms))

    def erased_ms(self, subject: str) -> int:
        """Until when somebody is erased, in milliseconds since the epoch; -1 for somebody who is not."""
        return self._names.get(subject)

    def as_of_now(self) -> Callable[[str], int]:
        """``erased_ms`` as it answers now, whoever is erased later."""
        return self._names.as_of_now()

    def of(self, subjects: pl.Series) -> pl.DataFrame:
        """Those of some ids that are erased: ``subject`` and ``erased_time``."""
        found: list[tuple[str, int]] = []
        if len(self._names):
            distinct = subjects.drop_nulls().unique().to_list()
            found = [(one, until) for one in distinct if (until := self._names.get(one)) >= 0]
        frame = pl.DataFrame(found, {_SUBJECT: pl.String, _ERASED: pl.Int64}, orient="row")
        return frame.with_columns(pl.col(_ERASED).cast(TIMESTAMP))

    def living(self, rows: pl.DataFrame, subject: str, time: pl.Expr) -> pl.DataFrame:
        """The rows that no tombstone covers.

        Args:
            rows: Any table.
            subject: Its column with whom a row is of; null for nobody.
            time: When it happened; where that is null, the row counts as before any erasure.
        """
        if rows.is_empty() or not len(self):
            return rows
        return living(rows.lazy(), subject, time, self.of(rows[subject])).collect()


def living(rows: pl.LazyFrame, subject: str, time: pl.Expr, erased: pl.DataFrame) -> pl.LazyFrame:
    """The rows that the tombstones ``erased``, of ``Tombstones.of``, do not cover; see ``living`` there."""
    if erased.is_empty():
        return rows
    known = rows.join(erased.lazy(), left_on=subject, right_on=_SUBJECT, how="left", maintain_order="left")
    is_living = pl.col(_ERASED).is_null() | (time > pl.col(_ERASED)).fill_null(value=False)
    return known.filter(is_living).drop(_ERASED)
