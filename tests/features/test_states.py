"""States of users from the log: a log says one thing, however it lies."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from features.states import every_state
from recsys.schema import DAY_MS
from recsys.user_state import UserState
from tests.features.small_log import APPLE, BREAD, CATALOGUE, CONFIG
from tests.recsys.small_catalogue import NOW, Event, events_frame

_NUM_EVENTS = 20_000


def folded(events: pl.DataFrame) -> dict[str, bytes]:
    states: dict[str, UserState] = dict(every_state(events.lazy(), NOW, CATALOGUE, CONFIG))
    return {user_id: state.to_bytes() for user_id, state in states.items()}


@pytest.mark.parametrize("num_users", [3, 300])  # Polars adds up few groups otherwise than many
def test_states_are_the_same_to_the_bit_in_whatever_order_and_pieces_the_log_comes(num_users: int) -> None:
    rng = np.random.default_rng(0)
    ages = rng.integers(1, 25 * DAY_MS, _NUM_EVENTS).tolist()
    events: list[Event] = [
        (f"u{number % num_users}", APPLE if number % 2 else BREAD, "view", NOW - age)
        for number, age in enumerate(ages)
    ]
    log = events_frame(events).collect()
    shuffled = log.sample(fraction=1.0, shuffle=True, seed=1)
    cuts = [0, *sorted(rng.integers(1, _NUM_EVENTS, 7).tolist()), _NUM_EVENTS]
    pieces = [shuffled[start:end] for start, end in pairwise(cuts)]
    found = folded(log)
    assert len(found) == num_users
    assert found == folded(pl.concat(reversed(pieces), rechunk=False))
