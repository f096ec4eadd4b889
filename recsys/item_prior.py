"""What an item that nobody had yet borrows from the known items that it reads like.

A new item has sold nothing, so nothing that counts would ever offer it. It starts with a part of what its
text neighbours are given: for any rate or sum x,

    prior = 1/2 * max(c, 0) * sum_k w_k x_k,    c = sum_k w_k cos_k

over the 20 nearest known items k, with ``w_k`` the kernel weights of ``recsys.resemblance``, which sum to 1,
and ``cos_k`` the cosine of the vectors less the mean of all texts. So an item never gets more than half of
what its neighbours have in the mean, and next to nothing where nothing reads like it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, Int64

from recsys.catalogue import Catalogue
from recsys.index import VectorIndex

_LARGEST_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class ItemPrior:
    """From whom some items borrow, and how much."""

    positions: Int64[np.ndarray, " new"]
    """Catalogue positions of the items that borrow, the last ones of the catalogue."""
    neighbours: Int32[np.ndarray, "new neighbours"]
    """Catalogue positions of known items."""
    weights: Float64[np.ndarray, "new neighbours"]
    """At least 0; their sum is the item's share, at most 1/2."""

    def of(self, values: Float[np.ndarray, " items"]) -> Float64[np.ndarray, " new"]:
        """What the items borrow of one value per catalogue position; nothing of what is below 0."""
        found: Float64[np.ndarray, " new"] = (values[self.neighbours].clip(min=0) * self.weights).sum(1)
        return found

    def extend(self, values: Float32[np.ndarray, " items"]) -> Float32[np.ndarray, " all_items"]:
        """Values of the items before the new ones, followed by what these borrow."""
        return np.concatenate((values, self.of(values).astype(np.float32)))


def borrowed(
    words: VectorIndex,
    neighbours: Int32[np.ndarray, "texts neighbours"],
    weights: Float[np.ndarray, "texts neighbours"],
    catalogue: Catalogue,
    new: Int64[np.ndarray, " new"],
) -> ItemPrior:
    """Find from whom new items borrow.

    Args:
        words: The pretrained encoder's vectors.
        neighbours: Known items per text, see ``recsys.resemblance``.
        weights: Kernel weights, which sum to 1 per text, or to 0.
        catalogue: The items.
        new: Catalogue positions of the new ones.
    """
    texts = catalogue.text_of_item[new]
    near, weight = neighbours[texts], weights[texts].astype(np.float64)
    ours, theirs = words.centred(new), words.centred(near.ravel().astype(np.int64))
    cosine = np.einsum("nd,nkd->nk", ours, theirs.reshape(*near.shape, ours.shape[1])).astype(np.float64)
    share = _LARGEST_SHARE * (weight * cosine).sum(1, keepdims=True).clip(0, 1)
    return ItemPrior(new, near, weight * share)
