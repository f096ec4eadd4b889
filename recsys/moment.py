"""One user at one moment, with everything that candidates and features read."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64

from recsys.adoption import Adoption
from recsys.calibration import Calibration
from recsys.catalogue import Catalogue
from recsys.co_occurrence import CoOccurrence
from recsys.config import Config
from recsys.encoder import UserTower
from recsys.index import VectorIndex
from recsys.schema import DAY_MS
from recsys.user_items import Recent, UserItems


@dataclass(frozen=True, eq=False)
class Parts:
    """The fitted parts of a bundle that a moment is read with."""

    config: Config
    catalogue: Catalogue
    index: VectorIndex
    user_tower: UserTower
    co_occurrence: CoOccurrence
    adoption: Adoption
    calibration: Calibration
    encoder_fitted_until_ms: int

    def fitted_until(self) -> dict[str, int]:
        """End of the data each part was fitted on, by part; milliseconds since the epoch."""
        return {
            "encoder": self.encoder_fitted_until_ms,
            "co_occurrence": self.co_occurrence.fitted_until_ms,
            "adoption": self.adoption.fitted_until_ms,
            "calibration": self.calibration.fitted_until_ms,
        }


@dataclass(frozen=True, eq=False)
class Moment:
    """A user's history and the items' popularity as of one moment."""

    parts: Parts
    as_of_ms: int
    user: UserItems
    item_engagement: Float64[np.ndarray, "half_lives items"]
    """Popularity of every item at the last completed tick."""

    @cached_property
    def user_vector(self) -> Float32[np.ndarray, " dim"]:
        """The interest vector, from the recent items alone; ages run from the user's latest event."""
        return interest_vector(self.parts.user_tower, self.parts.index, self.user.recent)

    @cached_property
    def co_occurrence(self) -> tuple[Int64[np.ndarray, " found"], Float64[np.ndarray, " found"]]:
        """Items that go with the recent ones, positions ascending, and how strongly.

        A recent item counts by its decayed engagement of the middle half-life.
        """
        recent = self.user.recent.positions
        middle = self.user.engagement.shape[1] // 2
        weights = self.user.engagement[np.searchsorted(self.user.positions, recent), middle]
        return self.parts.co_occurrence.scores(recent, np.log1p(np.maximum(weights, 0)))


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
