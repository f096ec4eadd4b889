import numpy as np

from recsys.schema import DAY_MS
from tests.recsys.small_catalogue import NOW, Event, events_frame, greengrocer, shopping, small_config
from training.decisions import Decisions
from training.notes import notes

CATALOGUE = greengrocer()
HISTORY: list[Event] = [*shopping(CATALOGUE), ("user-0", "apple-1", "view", NOW - DAY_MS)]


def decisions(*labels: int) -> Decisions:
    """One decision with these labels."""
    size = len(labels)
    return Decisions(
        matrix=np.zeros((size, 1), np.float32),
        labels=np.asarray(labels, np.int64),
        positions=np.arange(size),
        groups=np.asarray([size], np.int64),
        users=["user-0"],
    )


TAKEN, NOTHING = decisions(0, 1), decisions(0, 0)


def told(all_labels: list[Decisions], new_labels: list[Decisions], most: int = 500) -> list[str]:
    config = small_config()
    state = config.state.model_copy(update={"max_rows_per_user": most})
    windows = [{"all": every, "new": new} for every, new in zip(all_labels, new_labels, strict=True)]
    found = notes(CATALOGUE, events_frame(HISTORY), windows, config.model_copy(update={"state": state}))
    return [note for note in found if "description" not in note]  # the greengrocer writes none


def test_nothing_is_told_of_ordinary_windows_and_users() -> None:
    assert told([TAKEN, TAKEN], [TAKEN, TAKEN]) == []


def test_users_whose_state_forgets_are_counted() -> None:
    kinds = {user: {(i, kind) for u, i, kind, _ in HISTORY if u == user} for user, *_ in HISTORY}
    heavy = sum(len(rows) > 3 for rows in kinds.values())
    assert heavy
    [note] = told([TAKEN, TAKEN], [TAKEN, TAKEN], most=3)
    assert note.startswith(f"{heavy} users touched more than 3 items")


def test_a_window_that_teaches_nothing_is_named() -> None:
    [note] = told([NOTHING, TAKEN, TAKEN], [TAKEN, TAKEN, TAKEN])
    assert note.startswith("label window 1 of 3: nobody took anything")


def test_without_anything_new_at_either_end_there_is_no_ranker_for_it() -> None:
    for new in ([TAKEN, NOTHING], [NOTHING, TAKEN]):
        [note] = told([TAKEN, TAKEN], new)
        assert "anything new" in note
    assert told([TAKEN, TAKEN, TAKEN], [NOTHING, TAKEN, TAKEN]) == []
