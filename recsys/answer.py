"""What the pipeline is asked and what it answers; transports translate to and from these."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from jaxtyping import Float64, UInt16

from recsys.user_state import UserState


class ServiceLevel(Enum):
    """How much of the pipeline an answer went through, best first."""

    FULL = "FULL"
    """Ordered by the ranker."""
    NO_RANKER = "NO_RANKER"
    """Personal candidates, in retrieval order."""
    NO_PERSONAL = "NO_PERSONAL"
    """Candidates from the context only."""
    POPULAR = "POPULAR"
    """What sells, the same for everybody."""


@dataclass(frozen=True)
class Query:
    """One question to the pipeline."""

    as_of_ms: int
    """Only what was visible strictly before this is used; milliseconds since the epoch."""
    user: UserState | None
    """The user's state, or ``None`` for somebody unknown."""
    placement: str = "home"
    """A placement of the configuration."""
    context_item_ids: tuple[str, ...] = ()
    """The product page's item, or the cart."""
    exclude_item_ids: frozenset[str] = frozenset()
    """Items that must not come back."""
    filter: str = ""
    """What items must be like, see ``recsys.item_filter.compile_filter``; empty for any."""
    limit: int = 20
    """Most items to return."""
    depth: int = 0
    """Most items to order, those to return included; what follows ``limit`` comes as ``RankedList.rest``."""
    novel: bool = False
    """Leave out what the user touched before, as far back as the state remembers."""
    explain: bool = False
    """Attach contributions and reasons."""


@dataclass(frozen=True)
class Contribution:
    """How much one feature moved one item's score."""

    feature: str
    value: float
    contribution: float


@dataclass(frozen=True)
class Explanation:
    """Additive explanation: ``base_value`` plus all contributions is the score."""

    base_value: float
    contributions: tuple[Contribution, ...]


@dataclass(frozen=True)
class RankedItem:
    """One item of an answer."""

    item_id: str
    score: float
    """The ranker's raw margin; below ``FULL`` service, the retrieval score."""
    sources: tuple[str, ...] = ()
    """Candidate sources that offered the item."""
    reasons: tuple[str, ...] = ()
    """Top contributions in words."""
    explanation: Explanation | None = None
    propensity: float = 1.0
    """Probability with which the policy put the item into its slot, in (0, 1]."""


@dataclass(frozen=True, eq=False)
class Remainder:
    """What follows the items of an answer, in order and in short, for its later pages."""

    item_ids: Sequence[str]
    scores: Float64[np.ndarray, " rest"]
    sources: UInt16[np.ndarray, " rest"]
    """See ``recsys.candidates.source_names``."""


@dataclass(frozen=True)
class RankedList:
    """One answer: the order is the ranking."""

    items: tuple[RankedItem, ...]
    service_level: ServiceLevel
    model_version: str
    degraded_reasons: tuple[str, ...] = ()
    missing_item_ids: tuple[str, ...] = ()
    """Items the caller named that the catalogue does not hold."""
    num_candidates: int = 0
    """How many items were ranked."""
    rest: Remainder | None = None
    """What follows, when ``Query.depth`` asks for more than the items and there is more."""
