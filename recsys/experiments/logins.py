"""Whose a visitor's list or event is: one rule for both, or what people bought would be lost on the way.

It is the user of the last login before it; of the first login where there is none before. So what is seen and
bought after logging out counts for the user too.
"""

import polars as pl

from recsys.experiments.bulk import UNIT_ID
from recsys.schema import MERGE_TIME, TIMESTAMP, USER_ID, VISITOR

_FROM, _TO, _LOGIN = "login_from", "login_to", "login"


def with_persons(
    frame: pl.LazyFrame, merges: pl.DataFrame | None, *, subject: str, time: str
) -> pl.LazyFrame:
    """The rows, in any order, with ``unit_id``: the user, or a visitor who never logged in.

    Args:
        frame: Lists or events.
        merges: Logins, ``recsys.schema.MERGE_SCHEMA``; ``None`` for none.
        subject: Column of the id that was served or that acted.
        time: Column of the moment.
    """
    if merges is None or merges.is_empty():
        return frame.with_columns(pl.col(subject).alias(UNIT_ID))
    moment = pl.col(MERGE_TIME).cast(TIMESTAMP)
    spans = merges.sort(MERGE_TIME, maintain_order=True).select(  # every moment lies in one of its visitor's
        pl.col(VISITOR).alias(subject),
        pl.col(USER_ID).alias(_LOGIN),
        pl.when(moment.cum_count().over(VISITOR) > 1).then(moment).alias(_FROM),
        moment.shift(-1).over(VISITOR).alias(_TO),
    )
    inside = pl.col(_FROM).is_null() | (pl.col(time) >= pl.col(_FROM))
    inside &= pl.col(_TO).is_null() | (pl.col(time) < pl.col(_TO))
    joined = frame.join(spans.lazy(), on=subject, how="left").filter(inside)
    return joined.with_columns(pl.coalesce(_LOGIN, subject).alias(UNIT_ID)).drop(_FROM, _TO, _LOGIN)
