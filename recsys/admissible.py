"""Which candidates may stand in a list, and what takes the others out."""

import numpy as np
from jaxtyping import Bool, Int64

from recsys.bought import allowed
from recsys.moment import Moment
from recsys.resolved_query import ResolvedQuery

Passes = dict[str, Bool[np.ndarray, " items"]]


def passes(positions: Int64[np.ndarray, " items"], moment: Moment, asked: ResolvedQuery) -> Passes:
    """Whether each item may be shown, by what takes the others out.

    Beyond ``can_be_shown``: whether it has to do with the words that were sought, and suits the placement's
    policy on what the user had before.

    Args:
        positions: Catalogue positions.
        moment: The query's user at its moment.
        asked: The query.

    Raises:
        InvalidRequestError: The filter cannot be read.
    """
    found = can_be_shown(positions, moment, asked)
    if moment.sought is not None and asked.placement.starts_from == "query":
        found["irrelevant"] = moment.sought.relevance(positions) > 0
    policy = "leave_out_touched" if asked.query.novel else asked.placement.bought
    return found | allowed(policy, positions, moment, asked.query.user)


def can_be_shown(positions: Int64[np.ndarray, " items"], moment: Moment, asked: ResolvedQuery) -> Passes:
    """Whether each item can be sold, is not excluded and matches the filter: what holds for pins too.

    See ``passes``.
    """
    query, catalogue = asked.query, moment.parts.catalogue
    excluded = catalogue.positions([*query.exclude_item_ids, *query.context_item_ids])
    found = {"unavailable": catalogue.available[positions], "excluded": ~np.isin(positions, excluded)}
    if query.filter:
        found["filtered"] = catalogue.matching(query.filter)[positions]
    if asked.rules.excluded is not None:
        found["excluded_by_rule"] = ~asked.rules.excluded[positions]
    return found
