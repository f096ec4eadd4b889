"""Items that a user was shown again and again and did not care for."""

import numpy as np
from jaxtyping import Int64

from recsys.catalogue import Catalogue
from recsys.config import RepeatConfig
from recsys.schema import ENGAGEMENTS, EVENT_TYPE_CODES, IMPRESSION
from recsys.user_state import UserState

_IMPRESSION = EVENT_TYPE_CODES[IMPRESSION]
_ENGAGEMENT_CODES = [EVENT_TYPE_CODES[name] for name in ENGAGEMENTS]


def shown_in_vain(
    state: UserState | None, catalogue: Catalogue, config: RepeatConfig, as_of_ms: int
) -> Int64[np.ndarray, " items"]:
    """Items shown often enough within the window, and not engaged with in it; catalogue positions.

    A state keeps the number of an item's impressions and the times of the first and the last. Where the first
    lies before the window, the impressions are taken as evenly spread between the two.

    Args:
        state: The user's state; ``None`` for nobody.
        catalogue: The items.
        config: How often, and how far back.
        as_of_ms: The moment, milliseconds since the epoch.
    """
    if state is None:
        return np.empty(0, np.int64)
    start_ms = as_of_ms - round(config.window.total_seconds() * 1000)
    of_late = state.last_ms >= start_ms
    rows = np.flatnonzero(of_late & (state.event_types == _IMPRESSION))
    first, last, counts = state.first_ms[rows], state.last_ms[rows], state.counts[rows]
    share = (last - np.maximum(first, start_ms)) / np.maximum(last - first, 1)
    times = np.where(first >= start_ms, counts, 1 + (counts - 1) * share)
    often = rows[times >= config.times]
    engaged = np.flatnonzero(of_late & np.isin(state.event_types, _ENGAGEMENT_CODES))
    cared_for = {state.item_ids[row] for row in engaged.tolist()}
    found = catalogue.positions(
        [state.item_ids[row] for row in often.tolist() if state.item_ids[row] not in cared_for]
    )
    return found[found >= 0]
