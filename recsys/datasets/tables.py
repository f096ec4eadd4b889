"""What every data set's adapter hands over."""

from typing import NamedTuple

import polars as pl


class Tables(NamedTuple):
    """A data set in this project's own columns."""

    items: pl.DataFrame
    """Columns of ``recsys.schema.ITEM_SCHEMA``."""
    events: pl.DataFrame
    """Columns of ``recsys.schema.EVENT_SCHEMA``."""
    users: pl.DataFrame | None = None
    """Columns of ``recsys.schema.USER_SCHEMA``, or ``None`` when nothing is known of the users."""
