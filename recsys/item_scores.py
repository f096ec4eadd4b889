"""Scores of the few items that a source speaks for, out of a catalogue that may be large."""

import threading
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int, Int64

_local = threading.local()


@dataclass(frozen=True, eq=False)
class ItemScores:
    """Scores by item; every item that is not named scores 0."""

    positions: Int64[np.ndarray, " named"]
    """Catalogue positions, ascending."""
    values: Float64[np.ndarray, " named"]
    num_items: int
    """Size of the catalogue."""

    def at(self, positions: Int[np.ndarray, "*wanted"]) -> Float64[np.ndarray, "*wanted"]:
        """The scores of some items."""
        board = _blank_board(self.num_items)
        board[self.positions] = self.values
        found: Float64[np.ndarray, "*wanted"] = board[positions]
        board[self.positions] = 0.0
        return found

    def dense(self) -> Float64[np.ndarray, " items"]:
        """One score per item of the catalogue."""
        return self.at(np.arange(self.num_items))

    def greatest(self) -> float:
        """The greatest score, at least 0."""
        return float(self.values.max(initial=0.0))

    def strongest(
        self, limit: int, leave_out: Int64[np.ndarray, " items"] | None = None
    ) -> Int64[np.ndarray, " strongest"]:
        """Positions of the largest positive scores, largest first; ties by position.

        Args:
            limit: Most items to return.
            leave_out: Positions of items that must not be among them.
        """
        values = self.values
        if leave_out is not None and len(leave_out) and len(values):
            rows = np.minimum(np.searchsorted(self.positions, leave_out), len(values) - 1)
            values = values.copy()
            values[rows[self.positions[rows] == leave_out]] = 0.0
        found: Int64[np.ndarray, " strongest"] = self.positions[strongest(values, limit)]
        return found


def strongest(scores: Float64[np.ndarray, " items"], limit: int) -> Int64[np.ndarray, " strongest"]:
    """Rows of the largest positive scores, largest first; ties by row."""
    top = np.flatnonzero(scores > 0)
    if 0 < limit < len(top):
        above = scores[top]
        smallest = np.partition(above, -limit)[-limit]
        top = top[above >= smallest]
    return top[np.argsort(-scores[top], kind="stable")][:limit]


def _blank_board(num_items: int) -> Float64[np.ndarray, " items"]:
    """Zeros per item, one array per thread; whoever writes to it wipes it again."""
    board: Float64[np.ndarray, " items"] | None = getattr(_local, "board", None)
    if board is None or len(board) != num_items:
        board = _local.board = np.zeros(num_items)
    return board
