"""What is remembered of every item: decayed sums by event type, as of the last completed tick.

All items share one reference time, so a tick is one multiplication per array, and a request reads arrays that
are already there. Values of the current tick wait in a queue until it is over, in training too. Beside the
decayed sums there are plain counts: the sums of an endless half-life.
"""

import threading

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64

from recsys.catalogue import Catalogue
from recsys.click_rates import ClickRates, fit_click_rates
from recsys.config import StateConfig
from recsys.influence import counted
from recsys.item_prior import ItemPrior
from recsys.popularity import Popularity
from recsys.schema import (
    DAY_MS,
    EFFECTIVE_TIME,
    ENGAGEMENTS,
    EVENT_TYPE,
    EVENT_TYPE_CODES,
    EVENT_TYPES,
    IMPRESSION,
    ITEM_ID,
)
from recsys.user_state import SMALLEST_SUM

_ENGAGEMENT_CODES = [EVENT_TYPE_CODES[name] for name in ENGAGEMENTS]


def tick_of(as_of_ms: int, config: StateConfig) -> int:
    """The last completed tick at or before a moment; milliseconds since the epoch."""
    tick_ms = round(config.tick.total_seconds() * 1000)
    return as_of_ms // tick_ms * tick_ms


class ItemState:
    """Decayed sums of all items of a catalogue; safe to use from several threads."""

    def __init__(self, catalogue: Catalogue, config: StateConfig, tick_ms: int = 0) -> None:
        self._catalogue = catalogue
        self._config = config
        self._half_lives_ms = np.append(np.asarray(config.half_lives_days) * DAY_MS, np.inf)
        self._tick_ms = tick_ms
        self._sums: dict[int, Float64[np.ndarray, "half_lives_and_endless items"]] = {}
        self._waiting: list[tuple[int, int, int]] = []
        self._popularity: Popularity | None = None
        self._lock = threading.Lock()
        self._successor: ItemState | None = None

    @classmethod
    def from_events(
        cls, catalogue: Catalogue, config: StateConfig, events: pl.LazyFrame, as_of_ms: int
    ) -> "ItemState":
        """The state at ``as_of_ms``, from the log.

        Args:
            catalogue: The items.
            config: Half-lives, tick and weights.
            events: Event log with ``effective_time``.
            as_of_ms: Moment to stand at. Events of its unfinished tick are queued, later ones are left out.
        """
        tick_ms = tick_of(as_of_ms, config)
        state = cls(catalogue, config, tick_ms)
        age = (tick_ms - pl.col("time")).cast(pl.Float64)
        visible = counted(events, config).select(
            ITEM_ID, EVENT_TYPE, time=pl.col(EFFECTIVE_TIME).dt.epoch("ms")
        )
        table = (
            visible.filter(pl.col("time") < tick_ms)
            .group_by(ITEM_ID, EVENT_TYPE)
            .agg(
                pl.lit(2.0).pow(-age / h).sum().alias(f"s{i}")
                for i, h in enumerate(state._half_lives_ms.tolist())
            )
            .collect()
        )
        for (name,), rows in table.group_by(EVENT_TYPE):
            positions = catalogue.positions(rows[ITEM_ID].to_list())
            known = positions >= 0
            sums = state._of_type(EVENT_TYPE_CODES[str(name)])
            for i in range(len(sums)):
                sums[i, positions[known]] = rows[f"s{i}"].to_numpy()[known]
        unfinished = visible.filter(pl.col("time") >= tick_ms, pl.col("time") < as_of_ms).collect()
        for item_id, name, time_ms in unfinished.iter_rows():
            if item_id in catalogue.position:
                state.record(catalogue.position[item_id], EVENT_TYPE_CODES[name], time_ms)
        return state

    def record(self, position: int, event_type: int, time_ms: int) -> None:
        """Queue one event; it counts from the tick after its time.

        Args:
            position: Catalogue position of the item.
            event_type: Event type code.
            time_ms: Effective time, milliseconds since the epoch.
        """
        with self._lock:
            self._waiting.append((position, event_type, time_ms))
            if self._successor is not None:
                self._successor.record(position, event_type, time_ms)

    def extended(self, catalogue: Catalogue, prior: ItemPrior) -> "ItemState":
        """The state of more items; events that are recorded here from now on are recorded there too.

        Args:
            catalogue: These items, and others behind them.
            prior: What those others borrow.
        """
        found = ItemState(catalogue, self._config)
        with self._lock:
            found._tick_ms = self._tick_ms
            found._waiting = list(self._waiting)
            num_new = len(catalogue) - len(self._catalogue)
            found._sums = {code: np.pad(sums, ((0, 0), (0, num_new))) for code, sums in self._sums.items()}
            self._successor = found
        found.lend(prior)
        return found

    def lend(self, prior: ItemPrior) -> None:
        """Add what items borrow from their neighbours to what they have; from then on it fades alike."""
        with self._lock:
            for sums in self._sums.values():
                sums[:, prior.positions] += [prior.of(row) for row in sums]
            self._popularity = None

    def popularity(self, as_of_ms: int) -> Popularity:
        """What is known of every item at the last completed tick.

        A moment before the state's own tick reads the state's tick: time does not run backwards.
        """
        with self._lock:
            tick_ms = tick_of(as_of_ms, self._config)
            if self._popularity is None or tick_ms > self._tick_ms:
                self._advance(max(tick_ms, self._tick_ms))
                self._popularity = Popularity(self._catalogue, self._weighted(), self._rates())
            return self._popularity

    def _advance(self, tick_ms: int) -> None:
        factor = np.exp2(-(tick_ms - self._tick_ms) / self._half_lives_ms)[:, None]
        for sums in self._sums.values():
            np.multiply(sums, factor, out=sums)
        self._tick_ms = tick_ms
        due = [event for event in self._waiting if event[2] < tick_ms]
        self._waiting = [event for event in self._waiting if event[2] >= tick_ms]
        if due:
            table: Int64[np.ndarray, "events 3"] = np.asarray(due, np.int64)
            for code in np.unique(table[:, 1]).tolist():
                rows = table[table[:, 1] == code]
                added = np.exp2(-(tick_ms - rows[:, 2]) / self._half_lives_ms[:, None])
                for i, sums in enumerate(self._of_type(code)):
                    np.add.at(sums, rows[:, 0], added[i])
        for sums in self._sums.values():
            sums[sums < SMALLEST_SUM] = 0.0

    def _weighted(self) -> Float64[np.ndarray, "half_lives items"]:
        total = np.zeros((len(self._config.half_lives_days), len(self._catalogue)))
        for code, sums in self._sums.items():
            total += self._config.event_weights.get(EVENT_TYPES[code], 0.0) * sums[:-1]
        return total

    def _rates(self) -> ClickRates | None:
        shown = self._sums.get(EVENT_TYPE_CODES[IMPRESSION])
        if shown is None or not shown.any():
            return None
        engaged = np.max([self._of_type(code)[-1] for code in _ENGAGEMENT_CODES], axis=0)
        return fit_click_rates(shown[-1].copy(), engaged, self._catalogue.numbers)

    def _of_type(self, code: int) -> Float64[np.ndarray, "half_lives_and_endless items"]:
        return self._sums.setdefault(code, np.zeros((len(self._half_lives_ms), len(self._catalogue))))
