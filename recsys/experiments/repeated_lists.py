"""Lists of one call that was made again, perhaps to another server: only one of them was seen."""

import polars as pl

from recsys.call_ids import CALL_ID_PREFIX
from recsys.schema import LIST_ID, SERVED_TIME

_CALL = ("request_id", "subject")


def once_per_call(served: pl.LazyFrame) -> pl.LazyFrame:
    """The lists without those that were served to a call which was made again: the last one came through.

    Which lists are of one call, only ids with ``CALL_ID_PREFIX`` tell; others stay as they are.

    Args:
        served: Frame of ``SERVED_LIST_SCHEMA``.
    """
    is_named = pl.col("request_id").str.starts_with(CALL_ID_PREFIX).fill_null(value=False)
    last = pl.col(LIST_ID).sort_by(SERVED_TIME, LIST_ID).last().over(_CALL)
    named = served.filter(is_named).filter(pl.col(LIST_ID) == last)
    return pl.concat([served.filter(~is_named), named])
