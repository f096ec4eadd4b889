"""The items of every category, best first: a list over many categories need not look at every item."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32, Int64

from recsys.item_scores import strongest
from recsys.ranges import rows_of


@dataclass(frozen=True, eq=False)
class CategoryOrder:
    """Items with a positive score, by category."""

    positions: Int64[np.ndarray, " scored"]
    """Catalogue positions: by category, best first within one, ties by position."""
    scores: Float64[np.ndarray, " scored"]
    starts: Int64[np.ndarray, " categories_and_one"]
    """Where each category's items start; one more at the end."""
    codes: Int32[np.ndarray, " items"]
    """Category code per catalogue position, -1 for none."""

    @classmethod
    def of(
        cls, codes: Int32[np.ndarray, " items"], num_codes: int, scores: Float64[np.ndarray, " items"]
    ) -> "CategoryOrder":
        """Order the items.

        Args:
            codes: Category code per catalogue position, -1 for none.
            num_codes: Number of categories.
            scores: What is to be large; items at or below 0, or NaN, are left out.
        """
        scored = np.flatnonzero((codes >= 0) & (scores > 0))
        positions = scored[np.lexsort((scored, -scores[scored], codes[scored]))]
        starts = np.searchsorted(codes[positions], np.arange(num_codes + 1))
        return cls(positions, scores[positions], starts, codes)

    def strongest(
        self,
        weights: Float64[np.ndarray, " categories_and_more"],
        limit: int,
        leave_out: Int64[np.ndarray, " items"] | None = None,
    ) -> Int64[np.ndarray, " strongest"]:
        """The items with the largest positive product of score and category weight; ties by position.

        Of a category no more than its best can be among them, so only those are looked at.

        Args:
            weights: Weight per category code, >= 0; what follows the last code is not read.
            limit: Most items to return.
            leave_out: Positions of items that must not be among them.
        """
        num_codes = len(self.starts) - 1
        wanted = np.flatnonzero(weights[:num_codes] > 0)
        most = np.full(num_codes, limit)
        if leave_out is not None:
            theirs = self.codes[leave_out]
            most += np.bincount(theirs[theirs >= 0], minlength=num_codes)
        starts = self.starts[wanted]
        lengths = np.minimum(self.starts[wanted + 1] - starts, most[wanted])
        rows = rows_of(starts, lengths)
        positions, products = self.positions[rows], self.scores[rows] * np.repeat(weights[wanted], lengths)
        if leave_out is not None:
            products[np.isin(positions, leave_out)] = 0.0
        order = np.argsort(positions)
        positions, products = positions[order], products[order]
        found: Int64[np.ndarray, " strongest"] = positions[strongest(products, limit)]
        return found
