"""Labels of past decisions: the best that a user did with an item in a window, as a grade."""

from collections import defaultdict

import polars as pl

from recsys.config import Config
from recsys.moment import Parts
from recsys.schema import EFFECTIVE_TIME, EVENT_TYPE, ITEM_ID, QUERY_ID, USER_ID

LABEL = "label"


def gains(config: Config) -> list[float]:
    """LambdaMART's label gains: 0, then the distinct positive event weights, ascending."""
    return [0.0, *sorted({weight for weight in config.state.event_weights.values() if weight > 0})]


def grades(config: Config) -> dict[str, int]:
    """Label by event type, of the types with a positive weight: the weight's place among ``gains``."""
    return {name: gains(config).index(w) for name, w in config.state.event_weights.items() if w > 0}


def label_table(events: pl.LazyFrame, config: Config, from_ms: int, to_ms: int) -> pl.DataFrame:
    """The best grade of each user and item in a time window: ``user_id, item_id, label``."""
    grade = grades(config)
    time = pl.col(EFFECTIVE_TIME).dt.epoch("ms")
    return (
        events.filter(time >= from_ms, time < to_ms, pl.col(EVENT_TYPE).is_in(list(grade)))
        .group_by(USER_ID, ITEM_ID)
        .agg(pl.col(EVENT_TYPE).replace_strict(grade, return_dtype=pl.Int64).max().alias(LABEL))
        .collect()
    )


def grades_by_query(labels: pl.DataFrame, parts: Parts) -> dict[int, dict[int, int]]:
    """Grade by catalogue position, by query; items that are no longer in the catalogue at -1."""
    position = pl.col(ITEM_ID).replace_strict(parts.catalogue.position, default=-1, return_dtype=pl.Int64)
    grades_of: dict[int, dict[int, int]] = defaultdict(dict)
    for query_id, at, grade in labels.select(QUERY_ID, position, LABEL).iter_rows():
        grades_of[query_id][at] = grade
    return grades_of
