"""Many texts as one run of bytes, which processes can share; a text is read when it is asked for."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import SupportsIndex, overload

import numpy as np
from jaxtyping import Int64, UInt8


@dataclass(frozen=True, eq=False)
class Strings(Sequence[str]):
    """Texts that are not all in use."""

    content: UInt8[np.ndarray, " bytes"]
    """The texts in UTF-8, one after the other."""
    starts: Int64[np.ndarray, " texts_and_one"]
    """Where each begins; one more at the end."""

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Strings":
        """Pack some texts."""
        encoded = [text.encode() for text in texts]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        content = np.frombuffer(b"".join(encoded), np.uint8)
        return cls(content, np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths))))

    def __len__(self) -> int:
        return len(self.starts) - 1

    @overload
    def __getitem__(self, at: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: SupportsIndex | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        place = range(len(self))[at]
        return self.content[self.starts[place] : self.starts[place + 1]].tobytes().decode()


@dataclass(frozen=True, eq=False)
class GrownTexts(Sequence[str]):
    """Distinct texts, of which the first are in order and need not be read to find one, and later ones."""

    first: Sequence[str]
    """Ascending."""
    later: tuple[str, ...] = ()

    @classmethod
    def of(cls, texts: Sequence[str]) -> "GrownTexts":
        """Texts that are in order, or that grew already."""
        return texts if isinstance(texts, GrownTexts) else cls(texts)

    def find(self, text: str) -> int:
        """Where a text is, -1 where it is not."""
        at = bisect_left(self.first, text)
        if at < len(self.first) and self.first[at] == text:
            return at
        return self._later.get(text, -1)

    def with_more(self, texts: Iterable[str]) -> "GrownTexts":
        """The same, and behind them those that are not there."""
        new = dict.fromkeys(text for text in texts if self.find(text) < 0)
        return GrownTexts(self.first, (*self.later, *new))

    def __len__(self) -> int:
        return len(self.first) + len(self.later)

    @overload
    def __getitem__(self, at: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: SupportsIndex | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        place = range(len(self))[at]
        num_first = len(self.first)
        return self.first[place] if place < num_first else self.later[place - num_first]

    @cached_property
    def _later(self) -> dict[str, int]:
        return {text: len(self.first) + i for i, text in enumerate(self.later)}
