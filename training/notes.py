"""What a training run should tell of its data: where a part of the model had nothing to work with."""

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from recsys.catalogue import Catalogue
from recsys.config import Config
from recsys.schema import DESCRIPTION, EVENT_TYPE, ITEM_ID, USER_ID
from training.decisions import Decisions

_MANY = 0.01
"""Share of the events from which on events of unknown items are told."""


def notes(
    catalogue: Catalogue, events: pl.LazyFrame, windows: Sequence[Mapping[str, Decisions]], config: Config
) -> list[str]:
    """Sentences for the report; none for an ordinary shop.

    Args:
        catalogue: The items.
        events: Event log until the end of the data.
        windows: Decisions of the label windows, oldest first, by what there is to order.
        config: The run configuration.
    """
    return [*_of_items(catalogue), *_of_events(catalogue, events, config), *_of_windows(windows)]


def _of_items(catalogue: Catalogue) -> Iterator[str]:
    num_items = len(catalogue)
    if len(catalogue.texts) == 1 < num_items:
        yield "all items have the same words: text says nothing of any of them"
    elif catalogue.frame[DESCRIPTION].fill_null("").str.strip_chars().eq("").all():
        yield "no item has a description: the encoder reads titles, categories, brands and tags alone"
    if catalogue.num_attribute_values["category"] <= 1:
        yield "the items are of one category or of none: features by category tell nothing apart"


def _of_events(catalogue: Catalogue, events: pl.LazyFrame, config: Config) -> Iterator[str]:
    types = events.group_by(EVENT_TYPE).len().sort(EVENT_TYPE).collect()
    if types.height == 1:
        yield f"all events are of one type, {types[EVENT_TYPE][0]}: nothing tells a view from a purchase"
    unknown = events.filter(~pl.col(ITEM_ID).is_in(catalogue.item_ids))
    lost, items = unknown.select(pl.len(), items=pl.col(ITEM_ID).n_unique()).collect().row(0)
    total = int(types["len"].sum())
    if lost > _MANY * total:
        yield (
            f"{lost:,} of {total:,} events are of {items:,} items that the catalogue does not hold: they "
            "count for no item"
        )
    most = config.state.max_rows_per_user
    rows = events.group_by(USER_ID).agg(pl.struct(ITEM_ID, EVENT_TYPE).n_unique().alias("rows"))
    heavy = rows.filter(pl.col("rows") > most).select(pl.len()).collect().item()
    if heavy:
        yield (
            f"{heavy:,} users touched more than {most:,} items, by kind of event: of each, a server "
            "remembers the latest"
        )


def _of_windows(windows: Sequence[Mapping[str, Decisions]]) -> Iterator[str]:
    for number, window in enumerate(windows, start=1):
        if not window["all"].labels.any():
            yield (
                f"label window {number} of {len(windows)}: nobody took anything that a source had offered, "
                "so nothing is learned from it"
            )
    if not (windows[-1]["new"].labels.any() and any(window["new"].labels.any() for window in windows[:-1])):
        yield "next to nobody took anything new: the ranker of everything orders lists of new items too"
