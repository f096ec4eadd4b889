"""One user at one moment, with everything that candidates and features read."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
import torch
from jaxtyping import Float32, Float64, Int64

from recsys.calibration import Calibration
from recsys.catalogue import Catalogue
from recsys.co_occurrence import STEP_DECAY
from recsys.config import Config
from recsys.encoder import UserTower
from recsys.index import VectorIndex
from recsys.item_tables import ItemTables
from recsys.leaning import Leaning, lean
from recsys.popularity import Popularity
from recsys.schema import DAY_MS
from recsys.search import Sought
from recsys.user_items import Recent, UserItems


@dataclass(frozen=True, eq=False)
class Parts:
    """The fitted parts of a bundle that a moment is read with."""

    config: Config
    catalogue: Catalogue
    index: VectorIndex
    """The tuned encoder's item vectors."""
    words: VectorIndex
    """The pretrained encoder's vectors of the same texts."""
    user_tower: UserTower
    tables: ItemTables
    calibration: Calibration
    encoder_fitted_until_ms: int

    def fitted_until(self) -> dict[str, int]:
        """End of the data each part was fitted on, by part; milliseconds since the epoch."""
        return {
            "encoder": self.encoder_fitted_until_ms,
            "calibration": self.calibration.fitted_until_ms,
            **self.tables.fitted_until(),
        }

    def adoption_share(self, attribute: str) -> Float64[np.ndarray, " items"]:
        """Each item's share of the first events with its attribute value; NaN without one.

        The events count by the middle half-life.
        """
        return self._adoption_shares[attribute]

    @cached_property
    def _adoption_shares(self) -> dict[str, Float64[np.ndarray, " items"]]:
        rates: Float64[np.ndarray, " items"] = self.tables.history.adoption[self.config.state.middle].astype(
            np.float64
        )
        shares = {}
        for name, codes in self.catalogue.attribute_codes.items():
            total = np.bincount(codes[codes >= 0], rates[codes >= 0], minlength=int(codes.max(initial=0)) + 1)
            ours = np.where(codes >= 0, total[codes], np.nan)
            shares[name] = np.divide(rates, ours, out=np.where(codes >= 0, 0.0, np.nan), where=ours > 0)
        return shares

    @cached_property
    def price_levels(self) -> Float64[np.ndarray, " items"]:
        """Logarithm of each item's price over its category's median; NaN where a price is unknown or 0."""
        price = self.tables.history.price.astype(np.float64)
        logs = np.log(price, out=np.full(len(price), np.nan), where=price > 0)
        frame = pl.DataFrame({"category": self.catalogue.attribute_codes["category"], "log": logs})
        middle = pl.col("log").drop_nans().median().over("category")
        levels: Float64[np.ndarray, " items"] = frame.select(pl.col("log") - middle)["log"].to_numpy()
        return levels


@dataclass(frozen=True, eq=False)
class Places:
    """Where the caller would show the items of a list."""

    positions: Int64[np.ndarray, " items"]
    """Catalogue positions, ascending."""
    places: Float64[np.ndarray, " items"]
    """Place in the list, 0 the first; NaN where it is not known."""

    def of_items(self, positions: Int64[np.ndarray, " wanted"]) -> Float64[np.ndarray, " wanted"]:
        """The places of some items; NaN for those that are not in the list."""
        if not len(self.positions):
            return np.full(len(positions), np.nan)
        at = np.minimum(np.searchsorted(self.positions, positions), len(self.positions) - 1)
        return np.where(self.positions[at] == positions, self.places[at], np.nan)


@dataclass(frozen=True, eq=False)
class Moment:
    """A user's history and the items' popularity as of one moment."""

    parts: Parts
    as_of_ms: int
    user: UserItems
    popularity: Popularity
    """What everybody did with the items until the last completed tick."""
    places: Places | None = None
    """Where the caller would show the items, if it says so."""
    sought: Sought | None = None
    """What the query asks for, if there is one."""

    @cached_property
    def user_vector(self) -> Float32[np.ndarray, " dim"]:
        """The interest vector, from the recent items alone; ages run from the user's latest event."""
        return interest_vector(self.parts.user_tower, self.parts.index, self.user.recent)

    @cached_property
    def words_vector(self) -> Float32[np.ndarray, " width"]:
        """Unit mean of the recent items' pretrained vectors, each by the root of its count; 0 if none."""
        recent = self.user.recent
        weights = np.sqrt(recent.counts).astype(np.float32)
        total: Float32[np.ndarray, " width"] = weights @ self.parts.words.of_items(recent.positions)
        unit: Float32[np.ndarray, " width"] = total / np.float32(max(float(np.linalg.norm(total)), 1e-9))
        return unit

    @cached_property
    def together(self) -> Float64[np.ndarray, " items"]:
        """How strongly every item goes with the recent ones.

        A recent item counts by its decayed engagement of the middle half-life.
        """
        recent = self.user.recent.positions
        weights = self._engagement_of(recent, self.user.engagement.shape[1] // 2)
        return self.parts.tables.co_occurrence.scores(recent, np.log1p(weights))

    @cached_property
    def following(self) -> Float64[np.ndarray, " items"]:
        """How strongly every item follows the recent ones, each step further back counting 0.7 times."""
        recent = self.user.recent
        _, step = np.unique(-recent.last_ms, return_inverse=True)
        return self.parts.tables.following.scores(recent.positions, STEP_DECAY ** step.astype(np.float64))

    @cached_property
    def ease(self) -> Float64[np.ndarray, " items"]:
        """EASE scores of every item, from the root of the engagement over the longest half-life."""
        return self._ease(self.user.engagement.shape[1] - 1)

    @cached_property
    def ease_recent(self) -> Float64[np.ndarray, " items"]:
        """The same over the middle half-life."""
        return self._ease(self.user.engagement.shape[1] // 2)

    @cached_property
    def als(self) -> Float64[np.ndarray, " items"]:
        """How well every item meets the user in the factors, by engagement over the longest half-life."""
        history = self.user.positions
        mine = self.parts.tables.als.user_vector(history, self._engagement_of(history, -1))
        return self.parts.tables.als.scores(mine, len(self.parts.catalogue))

    def leaning(self, positions: Int64[np.ndarray, " items"]) -> Leaning | None:
        """What the user leans to among some items; None where nothing was ever shown to anybody."""
        rates = self.popularity.click_rates
        if rates is None:
            return None
        return lean(self.user.shown, rates, positions, self.parts.catalogue, self.parts.words)

    def taste(
        self, attribute: str, positions: Int64[np.ndarray, " items"] | None = None
    ) -> Float64[np.ndarray, " items"]:
        """The user's engagement with each item's attribute value times the item's adoption share.

        The engagement is over the longest half-life; NaN where the item has no such attribute. Without
        ``positions`` it is every item's, in catalogue order.
        """
        codes = self.parts.catalogue.attribute_codes[attribute]
        held = codes[self.user.positions]
        engagement = self.user.engagement[:, -1].clip(min=0)
        size = self.parts.catalogue.num_attribute_values[attribute] + 1
        liked = np.bincount(held[held >= 0], engagement[held >= 0], minlength=size)
        wanted = slice(None) if positions is None else positions
        found: Float64[np.ndarray, " items"] = (
            liked[codes[wanted]] * self.parts.adoption_share(attribute)[wanted]
        )
        return found

    def _ease(self, half_life: int) -> Float64[np.ndarray, " items"]:
        positions = self.user.positions
        return self.parts.tables.ease.scores(positions, np.sqrt(self._engagement_of(positions, half_life)))

    def _engagement_of(
        self, positions: Int64[np.ndarray, " items"], half_life: int
    ) -> Float64[np.ndarray, " items"]:
        rows = np.searchsorted(self.user.positions, positions)
        found: Float64[np.ndarray, " items"] = np.maximum(self.user.engagement[rows, half_life], 0.0)
        return found


@torch.inference_mode()
def interest_vector(tower: UserTower, index: VectorIndex, recent: Recent) -> Float32[np.ndarray, " dim"]:
    """Run the user tower over a recent history."""
    num = len(recent.positions)
    vectors = (
        torch.from_numpy(index.of_items(recent.positions)) if num else torch.zeros(1, index.vectors.shape[1])
    )
    age_days = (recent.last_ms.max(initial=0) - recent.last_ms) / DAY_MS
    pad = max(num, 1)
    types, ages, counts = np.zeros(pad, np.int64), np.zeros(pad, np.float32), np.ones(pad, np.float32)
    types[:num], ages[:num], counts[:num] = recent.event_types, age_days, recent.counts
    mask = torch.full((1, pad), num > 0)
    batch = (torch.from_numpy(a)[None] for a in (types, ages, counts))
    vector: Float32[np.ndarray, " dim"] = tower(vectors[None], *batch, mask)[0].numpy()
    return vector
