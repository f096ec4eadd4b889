"""What the pipeline is asked and what it answers; transports translate to and from these."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, overload

import numpy as np
from jaxtyping import Float32, Float64, UInt32

from recsys.config import PlacementConfig
from recsys.user_state import UserState


class ServiceLevel(Enum):
    """How much of the pipeline an answer went through, best first."""

    FULL = "FULL"
    """Ordered by the ranker."""
    NO_RANKER = "NO_RANKER"
    """Personal candidates, in retrieval order."""
    NO_PERSONAL = "NO_PERSONAL"
    """Nothing of the shopper is in it: candidates from the context only, or the state was not to be had."""
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
    query: str = ""
    """What the list is to be about, in the shopper's words; empty for nothing in particular."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """What is known of the request, such as ``country`` and ``device``; rules look at it."""
    subject: str = ""
    """Who asks; with ``as_of_ms`` the seed of random draws, so that they repeat."""
    rank_until: float = math.inf
    """When it is too late to begin with the ranker, by ``time.perf_counter``; the list then goes without."""
    with_interest: bool = False
    """Return the user's interest vector along with the list, which it does not change."""
    parameters: PlacementConfig | None = None
    """What the placement is to be instead of what is configured; ``None`` for that."""


@dataclass(frozen=True)
class Contribution:
    """How much one feature moved one item's score."""

    feature: str
    value: float
    contribution: float


class Contributions(Sequence[Contribution]):
    """Contributions of every feature to one score, made into objects where they are asked for one by one."""

    def __init__(
        self,
        features: tuple[str, ...],
        values: Sequence[float],
        contributions: Sequence[float],
    ) -> None:
        """Keep them, in the features' order.

        Args:
            features: Names.
            values: The features' values, NaN where missing.
            contributions: What each added to the score.
        """
        self.features, self.values, self.contributions = features, values, contributions

    def __len__(self) -> int:
        return len(self.features)

    @overload
    def __getitem__(self, index: int) -> Contribution: ...

    @overload
    def __getitem__(self, index: slice) -> "Contributions": ...

    def __getitem__(self, index: int | slice) -> "Contribution | Contributions":
        if isinstance(index, slice):
            return Contributions(self.features[index], self.values[index], self.contributions[index])
        return Contribution(self.features[index], self.values[index], self.contributions[index])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as a list

    def __repr__(self) -> str:
        return f"Contributions({list(self)})"


@dataclass(frozen=True)
class Explanation:
    """Additive explanation: ``base_value`` plus all contributions is the score."""

    base_value: float
    contributions: Contributions


@dataclass(frozen=True)
class RuleStep:
    """One step after scoring that moved an item."""

    rule: str
    """The rule's name, or ``shown_before``, ``diversity``, ``exploration`` or
    ``sampling``."""
    from_position: int | None
    """Place before the step, 0 the first; ``None`` where the item was not in the list."""
    to_position: int
    """Place right after it. Steps that move other items past this one are those items'."""


class RankedItem(NamedTuple):
    """One item of an answer; a tuple, since answers of hundreds are made in a fraction of a millisecond."""

    item_id: str
    score: float
    """The ranker's raw margin; below ``FULL`` service, the retrieval score."""
    sources: tuple[str, ...] = ()
    """Candidate sources that offered the item."""
    reasons: tuple[str, ...] = ()
    """Top contributions in words."""
    explanation: Explanation | None = None
    rule_steps: tuple[RuleStep, ...] = ()
    """What moved it after scoring, in order."""
    propensity: float = 1.0
    """Probability that it stands where it does given the places above; below 1 where new items are drawn."""


@dataclass(frozen=True, eq=False)
class Remainder:
    """What follows the items of an answer, in order and in short, for its later pages."""

    item_ids: Sequence[str]
    scores: Float64[np.ndarray, " rest"]
    sources: UInt32[np.ndarray, " rest"]
    """See ``recsys.candidates.source_names``."""
    propensity: Mapping[int, float] = field(default_factory=dict)
    """``RankedItem.propensity`` by row, where it is not 1."""


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
    policy: str = ""
    """How the order was drawn, where it was drawn at random, see ``recsys.plackett_luce``; else empty."""
    rest: Remainder | None = None
    """What follows, when ``Query.depth`` asks for more than the items and there is more."""
    interest: Float32[np.ndarray, " dim"] | None = field(default=None, compare=False, repr=False)
    """The user's interest vector, when ``Query.with_interest`` asks for it and there is a history."""
