"""What everybody did with the items until the last completed tick; the same for all who ask within a tick."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Float64, Int64

from recsys.catalogue import ATTRIBUTE_NAMES, Catalogue
from recsys.category_order import CategoryOrder
from recsys.click_rates import ClickRates
from recsys.item_scores import strongest


@dataclass(frozen=True, eq=False)
class Popularity:
    """Sums over all users, and what follows from them whoever asks; do not write to its arrays."""

    catalogue: Catalogue
    engagement: Float64[np.ndarray, "half_lives items"]
    """Weighted decayed events per catalogue position."""
    click_rates: ClickRates | None = None
    """How often every item was chosen when it was shown; None where nothing was ever shown."""

    @cached_property
    def category_totals(self) -> Float64[np.ndarray, " values_and_one"]:
        """Engagement over the middle half-life by category code; the last is 0, for items without one."""
        return self._by_code("category", self.engagement[len(self.engagement) // 2])

    def most_engaging(self, limit: int) -> Int64[np.ndarray, " items"]:
        """The items with most engagement over the middle half-life, most first."""
        found = self._most_engaging.get(limit)
        if found is None:
            found = self._most_engaging[limit] = strongest(self.engagement[len(self.engagement) // 2], limit)
        return found

    @cached_property
    def _most_engaging(self) -> dict[int, Int64[np.ndarray, " items"]]:
        return {}

    def everything(self, adoption: Float32[np.ndarray, " items"]) -> Int64[np.ndarray, " items"]:
        """All items, most engaging first, those without engagement by adoption; remembered.

        Args:
            adoption: Adoption rates of the bundle that asks.
        """
        remembered = self._everything.get(adoption.ctypes.data)
        if remembered is None:
            engagement = self.engagement[len(self.engagement) // 2]
            unknown = np.where(engagement > 0, 0.0, adoption)
            remembered = self._everything[adoption.ctypes.data] = np.lexsort((-unknown, -engagement))
        return remembered

    @cached_property
    def _everything(self) -> dict[int, Int64[np.ndarray, " items"]]:
        return {}

    @cached_property
    def engaging_by_category(self) -> CategoryOrder:
        """The items of every category by their engagement over the middle half-life."""
        return CategoryOrder.of(
            self.catalogue.attribute_codes["category"],
            self.catalogue.num_attribute_values["category"],
            self.engagement[len(self.engagement) // 2],
        )

    @cached_property
    def recent_and_whole(self) -> Float64[np.ndarray, "two items"]:
        """Engagement over the second and the longest half-life; 0 where it is negative."""
        return self.engagement[[min(1, len(self.engagement) - 1), -1]].clip(min=0)

    @cached_property
    def usual_rise(self) -> float:
        """The whole shop's recent engagement over its whole; 1 if there is none."""
        recent, whole = self.recent_and_whole.sum(1)
        return float(recent / whole) if whole > 0 else 1.0

    @cached_property
    def attribute_rises(self) -> dict[str, Float64[np.ndarray, " values_and_one"]]:
        """By attribute name, the rise of each of its codes; the last is NaN, for items without one."""
        found = {}
        for name in ATTRIBUTE_NAMES:
            recent, whole = (self._by_code(name, sums) for sums in self.recent_and_whole)
            found[name] = self.rise(recent, whole)
        return found

    def rise(
        self, recent: Float64[np.ndarray, " kinds"], whole: Float64[np.ndarray, " kinds"]
    ) -> Float64[np.ndarray, " kinds"]:
        """Recent over whole engagement, against the same of the whole shop: 1 is as ever, NaN if none."""
        usual = whole * self.usual_rise
        found: Float64[np.ndarray, " kinds"] = np.divide(
            recent, usual, out=np.full(len(whole), np.nan), where=usual > 0
        )
        return found

    def _by_code(
        self, attribute: str, sums: Float64[np.ndarray, " items"]
    ) -> Float64[np.ndarray, " values_and_one"]:
        codes = self.catalogue.attribute_codes[attribute]
        known, size = codes >= 0, self.catalogue.num_attribute_values[attribute] + 1
        found: Float64[np.ndarray, " values_and_one"] = np.bincount(codes[known], sums[known], minlength=size)
        return found.astype(np.float64)  # of no code at all, the counts would be integers
