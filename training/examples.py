"""The encoder's examples, divided by time into those to train on and those to validate on."""

from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Int64

from recsys.catalogue import Catalogue
from recsys.config import Config
from recsys.errors import DataError
from recsys.schema import DAY_MS, EFFECTIVE_TIME
from training.history import HistoryLog
from training.impressions import ShownLists
from training.next_items import NextItems

POSITIVES_PER_MOMENT = 6
"""Most positives of one user and moment."""
_MOST_TO_VALIDATE = 0.2


class Examples(NamedTuple):
    """Both kinds of examples of one stretch of time."""

    next_items: NextItems
    shown: ShownLists | None
    """``None`` where the log has no ranked lists, or they weigh nothing."""

    def texts(self) -> Int64[np.ndarray, " texts"]:
        """Distinct texts that the examples mention, ascending."""
        shown = self.shown.texts if self.shown else np.empty(0, np.int64)
        return np.unique(np.concatenate((self.next_items.log.text, shown)))


def split_examples(
    seen: pl.DataFrame, catalogue: Catalogue, config: Config, until_ms: int
) -> tuple[Examples, Examples]:
    """Examples to train on, and those of the last ``validation_days`` to validate on.

    Of a short log, the days that hold the last fifth of its events are enough to validate on.

    Args:
        seen: Event log rows before ``until_ms``.
        catalogue: The items.
        config: The run configuration.
        until_ms: End of the data, exclusive; milliseconds since the epoch.

    Raises:
        DataError: No user has events at two different times in either stretch.
    """
    days = config.encoder.validation_days
    time = pl.col(EFFECTIVE_TIME).dt.epoch("ms")
    last_fifth = seen.select(time.quantile(1 - _MOST_TO_VALIDATE, "higher")).item() or 0
    split_ms = max(until_ms - round(days * DAY_MS), int(last_fifth))
    train = _examples(seen.filter(time < split_ms), catalogue, config, from_ms=0)
    validation = _examples(seen, catalogue, config, from_ms=split_ms)
    if not len(train.next_items) or not len(validation.next_items):
        raise DataError(
            "the encoder learns from users with events at two or more times: found "
            f"{len(train.next_items)} such moments to train on and {len(validation.next_items)} in the last "
            f"{days:g} days, or fifth of the events, to validate on; ingest a longer log"
        )
    return train, validation


def _examples(events: pl.DataFrame, catalogue: Catalogue, config: Config, *, from_ms: int) -> Examples:
    log = HistoryLog(events, catalogue, config.state, config.encoder.history_length)
    moments = NextItems(log, from_ms=from_ms, max_positives=POSITIVES_PER_MOMENT, seed=config.seed)
    if not config.encoder.impression_weight:
        return Examples(moments, None)
    return Examples(moments, ShownLists(log, events, catalogue, from_ms=from_ms) or None)
