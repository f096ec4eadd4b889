"""What the sources would have offered at past moments, without most of what nobody took."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Float64, Int64, UInt32

from features.log import POSITION
from features.registry import as_ranker_input
from recsys.candidates import gather
from recsys.moment import Moment, Parts
from recsys.schema import CREATED_TIME, ITEM_ID, QUERY_ID
from training.labels import LABEL
from training.threads import in_threads

SOURCE_BITS = "source_bits"
ORDERS = ("all", "new")
"""What there is to order: every candidate, or those that are new to the user."""
ROWS = {
    QUERY_ID: pl.Int64(),
    POSITION: pl.Int64(),
    SOURCE_BITS: pl.UInt32(),
    LABEL: pl.Int64(),
    **dict.fromkeys(ORDERS, pl.Boolean()),
}
_NO_CONTEXT = np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class Offered:
    """What the sources offer at one moment, and what came of it."""

    positions: Int64[np.ndarray, " candidates"]
    """Catalogue positions."""
    sources: UInt32[np.ndarray, " candidates"]
    """Bit sets, see ``recsys.candidates.Candidates``."""
    labels: Int64[np.ndarray, " candidates"]
    orders: dict[str, Bool[np.ndarray, " candidates"]]
    """Which candidates are learned from, by what there is to order."""

    @property
    def keep(self) -> Bool[np.ndarray, " candidates"]:
        """Which candidates are learned from at all."""
        kept: Bool[np.ndarray, " candidates"] = np.logical_or.reduce(list(self.orders.values()))
        return kept

    def frame(self, query_id: int) -> pl.DataFrame:
        """The kept candidates as rows of a decision table, with the columns of the orders."""
        columns = {
            QUERY_ID: np.full_like(self.positions, query_id),
            POSITION: self.positions,
            SOURCE_BITS: self.sources,
            LABEL: self.labels,
            **self.orders,
        }
        return pl.DataFrame({name: column[self.keep] for name, column in columns.items()}, ROWS)


class Offers:
    """Asks the sources at past moments, and thins out what nobody took."""

    def __init__(self, events: pl.LazyFrame, parts: Parts, as_of_ms: int, placement: str = "home") -> None:
        """Find out what existed.

        Args:
            events: Event log with ``effective_time``, until the end of the data.
            parts: Parts that were fitted before the moments.
            as_of_ms: Milliseconds since the epoch; seeds the draws, and items created later are left out.
            placement: A placement that starts from a user.
        """
        self._sources = parts.config.placements[placement].sources
        self._config = parts.config
        self._existed = _existed(events, parts, as_of_ms)
        self._seed = parts.config.seed, as_of_ms

    def described(
        self,
        queries: Iterable[tuple[int, Moment]],
        grades_of: Mapping[int, Mapping[int, int]],
        features: Callable[[Moment, Int64[np.ndarray, " items"]], Float64[np.ndarray, "items features"]],
        advance: Callable[[int], None],
    ) -> list[tuple[pl.DataFrame, Float32[np.ndarray, "rows features"]]]:
        """Rows and features of what is learned from, by query; the features see all candidates of theirs.

        Args:
            queries: Query ids and their moments.
            grades_of: Labels by catalogue position, by query id.
            features: Of a moment's candidates, ``moment_matrix`` or ``online_matrix``.
            advance: Called with the number of queries just finished.
        """

        def describe(
            query: tuple[int, Moment],
        ) -> tuple[pl.DataFrame, Float32[np.ndarray, "rows features"]] | None:
            query_id, moment = query
            offered = self.of(moment, query_id, grades_of.get(query_id, {}))
            if not offered.keep.any():
                return None
            matrix = features(moment, offered.positions)[offered.keep]
            return offered.frame(query_id), as_ranker_input(matrix)

        found = []
        for described in in_threads(describe, queries):
            if described:
                found.append(described)
            advance(1)
        return found

    def of(self, moment: Moment, query_id: int, grades: Mapping[int, int]) -> Offered:
        """Candidates of a query's moment; ``grades`` are labels by catalogue position."""
        random = np.random.default_rng((*self._seed, query_id))
        found = gather(moment, self._sources, self._config.candidates, _NO_CONTEXT)
        existed = self._existed[found.positions]
        positions = found.positions[existed]
        labels = np.asarray([grades.get(p, 0) for p in positions.tolist()], np.int64)
        may_order = {"all": np.ones(len(labels), bool), "new": ~np.isin(positions, moment.user.positions)}
        orders = {
            name: _thin(labels, rows, self._config.ranker.num_negatives, random)
            for name, rows in may_order.items()
        }
        return Offered(positions, found.sources[existed], labels, orders)


def _existed(events: pl.LazyFrame, parts: Parts, as_of_ms: int) -> Bool[np.ndarray, " items"]:
    """Whether an item is known to have existed, then or later in the data."""
    catalogue = parts.catalogue
    touched = events.select(pl.col(ITEM_ID).unique()).collect()[ITEM_ID]
    created = pl.col(CREATED_TIME).dt.epoch("ms") <= as_of_ms
    existed = pl.col(ITEM_ID).is_in(touched.implode()) | created.fill_null(value=False)
    found: Bool[np.ndarray, " items"] = catalogue.frame.select(existed)[ITEM_ID].to_numpy()
    return found


def _thin(
    label: Int64[np.ndarray, " rows"],
    wanted: Bool[np.ndarray, " rows"],
    num_negatives: int,
    random: np.random.Generator,
) -> Bool[np.ndarray, " rows"]:
    """The positives of a query's wanted rows and at most ``num_negatives`` others; none without one."""
    keep = wanted & (label > 0)
    if keep.any():
        keep[random.permutation(np.flatnonzero(wanted & (label == 0)))[:num_negatives]] = True
    return keep
