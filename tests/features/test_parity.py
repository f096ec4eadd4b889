import json
import shutil
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from features import item, text_interest, user, user_attribute, user_item
from features.parity import TOLERANCE, ParityReport, verify_parity
from features.registry import names
from recsys.bundle import Bundle, load_bundle
from recsys.cli import run
from recsys.config import StateConfig
from recsys.event_log import EventLog
from recsys.registry import Registry
from recsys.schema import DAY_MS
from recsys.workspace import Workspace
from tests.conftest import Trained
from tests.features.small_log import CONFIG, FEATURE_NAMES, ITEM_IDS, hand_made_parts, offline_rows, online_rows
from tests.recsys.small_catalogue import HOUR_MS, NOW, Event

USERS = ("ann", "bob")
TIMES = st.one_of(
    st.integers(-45 * 24, 24).map(lambda hours: NOW + hours * HOUR_MS),  # often equal
    st.integers(NOW - 45 * DAY_MS, NOW + DAY_MS),
)
LOGS = st.lists(
    st.tuples(
        st.sampled_from(USERS),
        st.sampled_from(ITEM_IDS),
        st.sampled_from(["impression", "view", "click", "purchase", "like", "dislike"]),
        TIMES,
    ),
    max_size=40,
)
MOMENTS = st.lists(st.tuples(st.sampled_from([*USERS, "eve"]), TIMES), min_size=1, max_size=4)


@settings(deadline=None, max_examples=60)
@given(events=LOGS, queries=MOMENTS)
def test_offline_equals_online_on_any_log_in_any_order_of_arrival(events: list[Event], queries: list[tuple[str, int]]) -> None:
    parts = hand_made_parts()
    offline, online = offline_rows(events, queries, parts), online_rows(events, queries, parts)
    for column, name in enumerate(FEATURE_NAMES):
        np.testing.assert_allclose(online[:, column], offline[:, column], rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)
