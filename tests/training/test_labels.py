"""Tests of the grades that decisions are labelled with."""

from recsys.config import Config
from recsys.schema import ITEM_ID, USER_ID
from tests.recsys.small_catalogue import (
    NOW,
    Event,
    events_frame,
)
from tests.training.small_window import END
from training.labels import LABEL, gains, label_table


def test_grades_are_the_positive_weights_in_order() -> None:
    # 0, view 0.1, click and comment 0.3, add_to_cart, like and share 0.5, purchase 1
    assert gains(Config()) == [0.0, 0.1, 0.3, 0.5, 1.0]


def test_a_label_is_the_best_grade_of_the_window() -> None:
    events: list[Event] = [
        ("ann", "leek", "view", NOW),
        ("ann", "leek", "purchase", NOW + 1),
        ("ann", "beet", "like", NOW + 2),
        ("ann", "kale", "purchase", NOW - 1),
        ("ann", "kale", "purchase", END),
        ("ann", "radish", "dislike", NOW + 3),
        ("ann", "radish", "impression", NOW + 3),
        ("bob", "beet", "comment", END - 1),
    ]
    table = label_table(events_frame(events), Config(), NOW, END).sort(USER_ID, ITEM_ID)
    assert table.select(USER_ID, ITEM_ID, LABEL).rows() == [
        ("ann", "beet", 3),
        ("ann", "leek", 4),
        ("bob", "beet", 2),
    ]
