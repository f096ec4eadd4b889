"""What becomes of items that a user had before: one policy per placement."""

import numpy as np
from jaxtyping import Bool, Int64

from recsys.config import BoughtPolicy
from recsys.moment import Moment
from recsys.schema import EVENT_TYPE_CODES
from recsys.user_state import UserState

_PURCHASE = EVENT_TYPE_CODES["purchase"]
HAD_BEFORE = "had_before"
"""What takes out everything that the user touched; what is left is all new to the user."""


def allowed(
    policy: BoughtPolicy, positions: Int64[np.ndarray, " items"], moment: Moment, state: UserState | None
) -> dict[str, Bool[np.ndarray, " items"]]:
    """Whether each item may be shown under a policy, by a word for what takes the others out.

    Args:
        policy: What becomes of items that the user had before.
        positions: Catalogue positions.
        moment: The user at the moment.
        state: The same user's state.
    """
    if policy == "keep":
        return {}
    touched, only = policy.endswith("touched"), policy.startswith("only")
    theirs = moment.user.positions if touched else _purchased(moment, state)
    had = np.isin(positions, theirs)
    if only:
        return {"not_touched" if touched else "not_bought": had}
    return {HAD_BEFORE if touched else "bought_before": ~had}


def _purchased(moment: Moment, state: UserState | None) -> Int64[np.ndarray, " items"]:
    if state is None:
        return np.empty(0, np.int64)
    state = state.live(moment.as_of_ms, moment.parts.config.state)
    rows = np.flatnonzero(state.event_types == _PURCHASE)
    return moment.parts.catalogue.positions([state.item_ids[row] for row in rows.tolist()])
