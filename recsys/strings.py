"""Many texts as one run of bytes, which processes can share; a text is read when it is asked for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

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
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        place = range(len(self))[at]
        return self.content[self.starts[place] : self.starts[place + 1]].tobytes().decode()
