"""Rows of several ranges at once."""

import numpy as np
from jaxtyping import Int, Int64


def rows_of(
    starts: Int[np.ndarray, " ranges"], lengths: Int[np.ndarray, " ranges"]
) -> Int64[np.ndarray, " rows"]:
    """The rows of every range, one range after the other.

    >>> rows_of(np.asarray([5, 0, 9]), np.asarray([2, 0, 3])).tolist()
    [5, 6, 9, 10, 11]
    """
    ends = np.cumsum(lengths)
    num_rows = int(ends[-1]) if len(ends) else 0
    rows: Int64[np.ndarray, " rows"] = np.repeat(starts - ends + lengths, lengths) + np.arange(num_rows)
    return rows
