"""A query, with everything that its words stand for in one shop: found once, read by every step after."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from recsys.answer import Query
from recsys.candidates import QUERY_SOURCES
from recsys.catalogue import Catalogue
from recsys.config import Config, PlacementConfig
from recsys.errors import ConfigError
from recsys.rule_book import ActiveRules, RuleBook


@dataclass(frozen=True, eq=False)
class ResolvedQuery:
    """A query over a catalogue, a configuration and rules."""

    query: Query
    placement: PlacementConfig
    """The query's own, or the configured one."""
    rules: ActiveRules
    context: Int64[np.ndarray, " context"]
    """Catalogue positions of the context items that are known."""
    missing: tuple[str, ...]
    """Ids of the context items that are not."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources that are asked for candidates."""
        names: tuple[str, ...] = self.placement.sources
        if self.query.query:
            names += tuple(name for name in QUERY_SOURCES if name not in names)
        return names


def resolved(query: Query, config: Config, catalogue: Catalogue, rules: RuleBook) -> ResolvedQuery:
    """Look up what a query means.

    Raises:
        ConfigError: The placement is not configured.
    """
    placement = query.parameters or config.placements.get(query.placement)
    if placement is None:
        known = ", ".join(sorted(config.placements))
        raise ConfigError(f"there is no placement {query.placement!r}; configured are: {known}")
    positions = catalogue.positions(query.context_item_ids)
    pairs = zip(query.context_item_ids, positions, strict=True)
    return ResolvedQuery(
        query,
        placement,
        rules.active(query.placement, query.attributes, query.as_of_ms),
        positions[positions >= 0],
        tuple(item_id for item_id, position in pairs if position < 0),
    )
