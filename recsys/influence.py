"""How much one person's free acts count for what everybody sees.

Views, clicks and the like cost nothing, so ten thousand of them must not make an item popular. Of one person,
item and kind of act, one in half an hour counts, and of one person so many a minute as a person can do; what
a machine does beyond that is taken in, and counts for nobody but the one who does it. Purchases are paid for,
and impressions are ours: they all count. Time is when an event was received, which nobody can choose. What a
shop's edge says is a machine's counts for nobody, whatever it is.

Offline and online count alike: ``refused`` reads a log, ``Influence`` follows a stream.
"""

import uuid
from collections import Counter, deque
from collections.abc import Callable

import polars as pl

from recsys.config import StateConfig
from recsys.schema import (
    EFFECTIVE_TIME,
    EVENT_ID,
    EVENT_TYPE,
    EVENT_TYPES,
    IMPRESSION,
    ITEM_ID,
    RECEIVED_TIME,
    USER_ID,
)

FREE = frozenset(EVENT_TYPES) - {"purchase", IMPRESSION}
"""Kinds of acts that cost nothing."""
AUTOMATED_PREFIX = "\x1fautomated:"
"""Marks, where users' ids stand, a machine; the wire refuses ids that begin with U+001F."""
_OfSome = Callable[[pl.LazyFrame, StateConfig], pl.Series]
_MINUTE_MS = 60_000
_EVENTS_AT_ONCE = 10_000_000


def refused(events: pl.LazyFrame, config: StateConfig) -> pl.Series:
    """Ids of the events that count for nobody else.

    Args:
        events: Event log with ``effective_time``.
        config: The window and the cap.

    Returns:
        The ids; none where events have no ids, as those of which nothing but users' own states is made.
    """
    if EVENT_ID not in events.collect_schema():
        return pl.Series(EVENT_ID, [], pl.String)
    is_automated = pl.col(USER_ID).str.starts_with(AUTOMATED_PREFIX)
    automated = events.filter(is_automated).select(pl.col(EVENT_ID).cast(pl.String)).collect()[EVENT_ID]
    free = events.filter(pl.col(EVENT_TYPE).is_in(FREE), ~is_automated)
    return pl.concat([automated, _by_parts(free, _refused_of_some, config)])


def _by_parts(free: pl.LazyFrame, of_some: _OfSome, config: StateConfig) -> pl.Series:
    """Ids that are found in free acts, some users at a time, so that a large log needs little memory."""
    num_parts = -(-free.select(pl.len()).collect().item() // _EVENTS_AT_ONCE)
    parts = [free.filter(pl.col(USER_ID).hash() % num_parts == part) for part in range(num_parts)]
    return pl.concat([pl.Series(EVENT_ID, [], pl.String), *(of_some(part, config) for part in parts)])


def _refused_of_some(free: pl.LazyFrame, config: StateConfig) -> pl.Series:
    """The same of all free acts of some users."""
    received = pl.col(RECEIVED_TIME).dt.epoch("ms")
    order = (EFFECTIVE_TIME, EVENT_ID)
    window = received // round(config.count_once.total_seconds() * 1000)
    act, minute = (USER_ID, ITEM_ID, EVENT_TYPE, "window"), (USER_ID, "minute")
    acts = free.select(USER_ID, ITEM_ID, EVENT_TYPE, *order, window=window, minute=received // _MINUTE_MS)
    is_suspect = (pl.len().over(act) > 1) | (pl.len().over(minute) > config.most_acts_per_minute)
    suspects = acts.filter(is_suspect).collect()  # few; the others need no order
    first = pl.col(EVENT_ID).sort_by(order).first().over(act)
    number = pl.struct(order).rank("ordinal").over(minute)
    return suspects.filter((pl.col(EVENT_ID) != first) | (number > config.most_acts_per_minute))[EVENT_ID]


def counted(events: pl.LazyFrame, config: StateConfig) -> pl.LazyFrame:
    """The events that count for everybody; see ``refused``."""
    gone = refused(events, config)
    return events if gone.is_empty() else events.filter(~pl.col(EVENT_ID).is_in(gone.implode()))


def counted_together(events: pl.LazyFrame, config: StateConfig) -> pl.LazyFrame:
    """The events that count for what goes together: of ``counted``, one person's latest few with an item.

    Without it one person who is patient outweighs all others: each half hour is a new basket.
    """
    known = counted(events, config)
    if EVENT_ID not in events.collect_schema():
        return known
    gone = _by_parts(known.filter(pl.col(EVENT_TYPE).is_in(FREE)), _beyond_few, config)
    return known if gone.is_empty() else known.filter(~pl.col(EVENT_ID).is_in(gone.implode()))


def _beyond_few(free: pl.LazyFrame, config: StateConfig) -> pl.Series:
    """Ids of what some users did with an item before the latest few times."""
    pair = (USER_ID, ITEM_ID)
    acts = free.select(*pair, EFFECTIVE_TIME, EVENT_ID)
    many = acts.filter(pl.len().over(pair) > config.most_acts_together).collect()
    number = pl.struct(EFFECTIVE_TIME, EVENT_ID).rank("ordinal", descending=True).over(pair)
    return many.filter(number > config.most_acts_together)[EVENT_ID]


def automaton() -> str:
    """An id for one event of a machine; no two are the same."""
    return AUTOMATED_PREFIX + uuid.uuid4().hex


class Influence:
    """Counts a stream of events, in about the order of their receipt."""

    def __init__(self, config: StateConfig, windows: int = 2) -> None:
        """Args: ``config``; ``windows`` of ``count_once`` that are remembered."""
        self._window_ms = round(config.count_once.total_seconds() * 1000)
        self._most = config.most_acts_per_minute
        self._windows: deque[tuple[int, set[int]]] = deque(maxlen=windows)
        self._minute, self._acts = -1, Counter[str]()

    def counts(self, user_id: str, item_id: str, event_type: str, received_ms: int) -> bool:
        """Whether an act counts for everybody; to be asked once of each."""
        if user_id.startswith(AUTOMATED_PREFIX):
            return False
        if event_type not in FREE:
            return True
        if (minute := received_ms // _MINUTE_MS) > self._minute:
            self._minute, self._acts = minute, Counter()
        self._acts[user_id] += 1
        seen = self._seen(received_ms // self._window_ms)
        act = hash((user_id, item_id, event_type))
        is_new = act not in seen
        seen.add(act)
        return is_new and self._acts[user_id] <= self._most

    def _seen(self, window: int) -> set[int]:
        for known, acts in self._windows:
            if known == window:
                return acts
        new: set[int] = set()
        self._windows.append((window, new))
        return new
