"""Who fills the online states from the log, where several consumers write them; nobody waits for anybody.

A filling has a number, and a mark in ``Workspace.state/fillings``: ``7.begun`` once somebody has taken it
upon itself, ``7`` when it is complete, ``7.void`` when it was given up. One process alone has a
number: who finds a mark of as high a one beside its own, as after a pause, takes its own away. Those of lower
numbers go at once. The holder renews its mark each second. Whoever has seen one begun and unchanged for
``LEASE_SECONDS`` of its own clock takes the next number, whatever became of the holder: it may be dead, or
stopped, and go on hours later.

What it then still writes does no harm, though no lock keeps it away. Every write is a transaction that the
store refuses when somebody touched the key after it was read (``WATCH``); after reading, and before writing,
the writer looks whether the filling that it builds on still ``stands``. Whoever fills makes its mark first,
and touches the states after it. So a late writer has looked after the mark was made, and stops; or before,
and then the store refuses what the filling has touched. What the filling did not touch, a state of somebody
of whom the log knows nothing, it can still write; but a state tells on which filling it was built, and those
of before the last one of the whole log (``Footing.base``) are as good as absent for whoever writes next. An
erasure touches in the same way: first the tombstone, for which a writer looks as well, then the keys, even
those that are not there.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from recsys.errors import StoreError

LEASE_SECONDS = 10.0
_DIRECTORY = "fillings"
_BEGUN, _VOID = ".begun", ".void"


def were_begun(state: Path) -> bool:
    """Whether there ever was a filling; ``state`` is ``Workspace.state``."""
    return (state / _DIRECTORY).exists()


@dataclass(frozen=True)
class Footing:
    """The filling that a writer of states builds on."""

    number: int
    base: int
    """Number of the last filling of the whole log; states that were built on an earlier one do not count."""
    server: str
    """The server that has the states, see ``Filling.finish``."""
    stands: Callable[[], bool]
    """Whether nobody has begun another one, nor erased anybody of whom the writer does not know."""

    def require(self) -> None:
        """Stop a writer that was overtaken; to be called between reading and writing.

        Raises:
            StoreError: It was.
        """
        if not self.stands():
            raise StoreError("the states are being filled anew, or somebody was erased; it is tried again")


class Fillings:
    """The fillings of one workspace's states."""

    def __init__(self, state: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Look at the marks in ``Workspace.state``; ``clock`` tells seconds."""
        self._directory, self._clock = state / _DIRECTORY, clock
        self._seen: tuple[str, int] | None = None
        self._since = 0.0

    @property
    def complete(self) -> int:
        """Number of the filling that states build on; 0 while one is under way, and before the first."""
        mark = self._last()
        return int(mark) if mark.isdigit() else 0

    def footing(self, also: Callable[[], bool] = lambda: True) -> Footing | None:
        """What to build on, ``None`` while a filling is under way; ``also`` has to hold for it to stand."""
        if not (number := self.complete):
            return None
        mark = self._directory / str(number)
        if not (said := _said(mark)):
            return None
        return Footing(number, int(said[0]), said[1], lambda: _is_there(mark) and also())

    @property
    def doubt(self) -> str:
        """What ``Filling.finish`` was told of the complete filling and nobody has removed; else empty."""
        return "".join(_said(self._directory / str(self.complete))[2:])

    def remove_doubt(self) -> None:
        """Let the filling be as good as any."""
        mark = self._directory / str(self.complete)
        with suppress(FileNotFoundError), mark.open("r+", encoding="ascii") as file:
            said = file.read()
            file.seek(0)
            file.write(" ".join(said.split()[:2]).ljust(len(said)))  # at once: nobody reads half of it

    def renounce(self) -> None:
        """Let the complete filling count no more."""
        if (filling := self.begin()) is not None:
            filling.give_up()

    def begin(self) -> "Filling | None":
        """Take the next filling upon oneself, unless somebody else is at it."""
        last = self._last()
        if last.endswith(_BEGUN) and not self._has_run_out(last):
            return None
        number = _number(last) + 1
        self._directory.mkdir(parents=True, exist_ok=True)
        mark = self._directory / f"{number}{_BEGUN}"
        with suppress(FileExistsError):
            mark.open("x").close()
            if [name for name in self._names() if _number(name) >= number] != [mark.name]:
                mark.unlink()  # others began and ended one since this one looked
                return None
            self._remove_below(number)
            return Filling(mark, number)
        return None

    def _last(self) -> str:
        """The mark of the highest number; empty before the first."""
        return max(self._names(), key=_number, default="")

    def _names(self) -> list[str]:
        try:
            return os.listdir(self._directory)  # noqa: PTH208  # asked before each step
        except FileNotFoundError:
            return []

    def _remove_below(self, number: int) -> None:
        for mark in self._directory.iterdir():
            if _number(mark.name) < number:
                mark.unlink(missing_ok=True)

    def _has_run_out(self, name: str) -> bool:
        try:
            seen = name, (self._directory / name).stat().st_mtime_ns
        except FileNotFoundError:
            return False
        if seen != self._seen:
            self._seen, self._since = seen, self._clock()
        return self._clock() - self._since >= LEASE_SECONDS


@dataclass(frozen=True)
class Filling:
    """One that this process has begun."""

    _mark: Path
    number: int

    @property
    def footing(self) -> Footing:
        """For its writes."""
        return Footing(self.number, 0, "", lambda: _is_there(self._mark))

    def renew(self) -> None:
        """Show that its holder lives."""
        with suppress(FileNotFoundError):
            os.utime(self._mark)

    def finish(self, base: int, server: str, doubt: str = "") -> None:
        """Let others build on it.

        Args:
            base: See ``Footing``.
            server: A word for the server that has the states.
            doubt: A word to be found again; what it was made from may have changed since.

        Raises:
            StoreError: It was overtaken.
        """
        try:
            with self._mark.open("r+", encoding="ascii") as file:  # never makes a mark that was removed
                file.write(f"{base} {server} {doubt}")
            self._mark.replace(self._mark.with_suffix(""))
        except FileNotFoundError:
            raise StoreError("this filling of the states was overtaken by another one") from None

    def give_up(self) -> None:
        """Let others begin at once."""
        with suppress(FileNotFoundError):
            self._mark.replace(self._mark.with_suffix(_VOID))


def _number(name: str) -> int:
    return int(name.partition(".")[0] or 0)


def _said(mark: Path) -> list[str]:
    try:
        return mark.read_text(encoding="ascii").split()
    except FileNotFoundError:
        return []


def _is_there(mark: Path) -> bool:
    try:
        mark.open("rb").close()  # a network file system answers ``stat`` from memory
    except FileNotFoundError:
        return False
    return True
