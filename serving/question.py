"""What the engine is asked, and what it answers: neither knows the wire, the clock or the store."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from recsys.answer import Query, RankedList
from recsys.config import PlacementConfig
from recsys.experiments.book import UNTREATED, Treatment
from serving.blurb_ask import BlurbAsk
from serving.blurb_list import NO_BLURBS_ASKED, ListBlurbs
from serving.page_token import PageToken


@dataclass(frozen=True)
class Question:
    """What a caller asks, before the user's state and the time are known."""

    subject: str | None
    """Whose state to read, see ``serving.event.subject``."""
    placement: str
    context_item_ids: tuple[str, ...] = ()
    exclude_item_ids: frozenset[str] = frozenset()
    filter: str = ""
    limit: int = 20
    explain: bool = False
    query: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    with_items: bool = False
    """Whether the answer carries catalogue rows."""
    blurbs: BlurbAsk | None = None
    """Which blurbs the answer carries; ``None`` for none."""
    identity: bytes = b""
    """Hash of the request, see ``serving.page_token.request_identity``; empty when it has no pages."""
    page: PageToken | None = None
    """The later page that is asked for; ``None`` for the first."""
    treatment: Treatment = UNTREATED
    """What experiments make of it."""
    parameters: PlacementConfig | None = None
    """The placement where an experiment changes it, see ``recsys.answer.Query.parameters``."""
    reasons: tuple[str, ...] = ()
    """Degraded reasons that are known beforehand."""
    drafted: Callable[[Query], RankedList] | None = None
    """Makes the list instead of the pipeline where an experiment interleaves two models."""
    list_id: str = ""
    """What ``drafted`` drew its coins by, which becomes the list's id; empty for any."""


@dataclass(frozen=True)
class Answer:
    """A ranked list, its tokens, and the catalogue rows of its items by id when they were asked for."""

    ranked: RankedList
    items: dict[str, dict[str, object]]
    attribution_token: str = ""
    next_page_token: str = ""
    arms: tuple[tuple[str, str], ...] = ()
    """Pairs of experiment and arm that the list is an exposure of."""
    blurbs: ListBlurbs = NO_BLURBS_ASKED
