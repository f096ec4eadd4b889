"""One user at one moment, with everything that candidates and features read."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from jaxtyping import Float32, Float64, Int64

from recsys.calibration import Calibration
from recsys.catalogue import Catalogue
from recsys.category_order import CategoryOrder
from recsys.co_occurrence import STEP_DECAY
from recsys.config import Config
from recsys.encoder import UserTower
from recsys.index import VectorIndex
from recsys.interest import InterestTower
from recsys.item_scores import ItemScores, strongest
from recsys.item_tables import ItemTables
from recsys.leaning import Leaning, lean
from recsys.popularity import Popularity
from recsys.resemblance import Alike
from recsys.search import Sought
from recsys.user_items import UserItems


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

    @cached_property
    def interest(self) -> InterestTower:
        """The user tower for single users."""
        return InterestTower.of(self.user_tower)

    def adoption_share(self, attribute: str) -> Float64[np.ndarray, " items"]:
        """Each item's share of the first events with its attribute value; NaN without one.

        The events count by the middle half-life.
        """
        return self._adoption_shares[attribute]

    @cached_property
    def most_adopted(self) -> Int64[np.ndarray, " items"]:
        """Items that win users who never had them, over the middle half-life, most first."""
        rates = self.tables.history.adoption[self.config.state.middle].astype(np.float64)
        return strongest(rates, len(rates))

    @cached_property
    def adopted_by_category(self) -> CategoryOrder:
        """The items of every category by their share of its first events."""
        codes, num_codes = (
            self.catalogue.attribute_codes["category"],
            self.catalogue.num_attribute_values["category"],
        )
        return CategoryOrder.of(codes, num_codes, self.adoption_share("category"))

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
        return self.parts.interest.vector(self.parts.index, self.user.recent)

    @cached_property
    def words_vector(self) -> Float32[np.ndarray, " width"]:
        """Unit mean of the recent items' pretrained vectors, each by the root of its count; 0 if none."""
        recent = self.user.recent
        weights = np.sqrt(recent.counts).astype(np.float32)
        total: Float32[np.ndarray, " width"] = weights @ self.parts.words.of_items(recent.positions)
        unit: Float32[np.ndarray, " width"] = total / np.float32(max(float(np.linalg.norm(total)), 1e-9))
        return unit

    @cached_property
    def together(self) -> ItemScores:
        """How strongly every item goes with the recent ones.

        A recent item counts by its decayed engagement of the middle half-life.
        """
        recent = self.user.recent.positions
        weights = self._engagement_of(recent, self.user.engagement.shape[1] // 2)
        return self.parts.tables.co_occurrence.scores(recent, np.log1p(weights))

    @cached_property
    def following(self) -> ItemScores:
        """How strongly every item follows the recent ones, each step further back counting 0.7 times."""
        recent = self.user.recent
        _, step = np.unique(-recent.last_ms, return_inverse=True)
        return self.parts.tables.following.scores(recent.positions, STEP_DECAY ** step.astype(np.float64))

    @cached_property
    def ease(self) -> ItemScores:
        """EASE scores of every item, from the root of the engagement over the longest half-life."""
        return self._ease(self.user.engagement.shape[1] - 1)

    @cached_property
    def ease_recent(self) -> ItemScores:
        """The same over the middle half-life."""
        return self._ease(self.user.engagement.shape[1] // 2)

    @cached_property
    def als(self) -> ItemScores:
        """How well every item meets the user in the factors, by engagement over the longest half-life."""
        history = self.user.positions
        mine = self.parts.tables.als.user_vector(history, self._engagement_of(history, -1))
        return self.parts.tables.als.scores(mine, len(self.parts.catalogue))

    def resemblance(self, positions: Int64[np.ndarray, " items"]) -> Alike:
        """What some items read like; the latest answer is remembered, for the same array of positions."""
        remembered: tuple[object, Alike] | None = self.__dict__.get("_alike")
        if remembered is None or remembered[0] is not positions:
            remembered = positions, self.parts.tables.resemblance.of_items(positions)
            self.__dict__["_alike"] = remembered
        return remembered[1]

    def leaning(self, positions: Int64[np.ndarray, " items"]) -> Leaning | None:
        """What the user leans to among some items; None where nothing was ever shown to anybody."""
        rates = self.popularity.click_rates
        if rates is None:
            return None
        return lean(self.user.shown, rates, positions, self.parts.catalogue, self.parts.words)

    def taste(self, attribute: str, positions: Int64[np.ndarray, " items"]) -> Float64[np.ndarray, " items"]:
        """The user's engagement with each item's attribute value times the item's adoption share.

        The engagement is over the longest half-life; NaN where the item has no such attribute.
        """
        codes = self.parts.catalogue.attribute_codes[attribute]
        share = self.parts.adoption_share(attribute)
        found: Float64[np.ndarray, " items"] = self.liked(attribute)[codes[positions]] * share[positions]
        return found

    def liked(self, attribute: str) -> Float64[np.ndarray, " values_and_one"]:
        """The user's engagement by the attribute's code, over the longest half-life; the last is 0."""
        codes = self.parts.catalogue.attribute_codes[attribute][self.user.positions]
        engagement = self.user.engagement[:, -1].clip(min=0)
        size = self.parts.catalogue.num_attribute_values[attribute] + 1
        found: Float64[np.ndarray, " values_and_one"] = np.bincount(
            codes[codes >= 0], engagement[codes >= 0], minlength=size
        )
        return found.astype(np.float64, copy=False)  # of no code at all, the counts would be integers

    def _ease(self, half_life: int) -> ItemScores:
        positions = self.user.positions
        return self.parts.tables.ease.scores(positions, np.sqrt(self._engagement_of(positions, half_life)))

    def _engagement_of(
        self, positions: Int64[np.ndarray, " items"], half_life: int
    ) -> Float64[np.ndarray, " items"]:
        rows = np.searchsorted(self.user.positions, positions)
        found: Float64[np.ndarray, " items"] = np.maximum(self.user.engagement[rows, half_life], 0.0)
        return found
