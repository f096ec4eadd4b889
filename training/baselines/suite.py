"""Every baseline by the name it has in reports, tuned, fitted and asked for lists."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import polars as pl
import structlog

from recsys.errors import ConfigError, DataError
from recsys.progress import progress
from recsys.schema import EVENT_TYPE
from training.baselines.click_rate import IMPRESSION
from training.baselines.frequency import personal_frequency, popular_lists, tune_personal_frequency
from training.baselines.interactions import Interactions
from training.baselines.searches import CLICK_RATE, STRONG, search_of
from training.baselines.tuning import Validation, tune

CHEAP = ("popular", "personal_frequency")
"""What every report shows."""
ALL = (*CHEAP, *STRONG)
"""Every baseline."""

_MIN_WINDOW_DAYS = 7
_MAX_WINDOW_DAYS = 56

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, eq=False)
class Compared:
    """A baseline at its best."""

    all: pl.DataFrame
    """``user_id``, ``item_id``, ``rank``: lists over all items."""
    novel: pl.DataFrame
    """The same over what the user never had."""
    settings: Mapping[str, Mapping[str, Any]]
    """What tuning chose, for ``all`` and for ``novel``."""


def parse_names(text: str) -> tuple[str, ...]:
    """Names of baselines from ``all`` or a list with commas.

    Raises:
        ConfigError: A name is not known.

    >>> parse_names("ease, popular")
    ('ease', 'popular')
    """
    if text.strip() == "all":
        return ALL
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in ALL]
    if unknown:
        raise ConfigError(
            f"expected all, or some of {', '.join(ALL)} with commas between; there is no baseline "
            f"{', '.join(unknown)}"
        )
    return names


def compare(
    history: pl.DataFrame,
    users: pl.Series,
    as_of_ms: int,
    *,
    names: Sequence[str] = CHEAP,
    window_days: int = 28,
    depth: int = 10,
    weights: Mapping[str, float] | None = None,
) -> dict[str, Compared]:
    """Tune baselines on the days before ``as_of_ms``, fit them on everything before it, list.

    What a log is too short for, or says nothing about, is left out with a warning.

    Args:
        history: Events, see ``training.baselines.events``; impressions among them serve the click rate alone.
        users: Ids of the users who get lists.
        as_of_ms: Start of the test window, milliseconds since the epoch; nothing at or after it is seen.
        names: Some of ``ALL``.
        window_days: Length of the test window in days; between 7 and 56 of them serve as validation window.
        depth: Longest list.
        weights: Weight by event type; the default is the configuration's.

    Returns:
        By name, in the order of ``ALL``.
    """
    had = history.filter(pl.col(EVENT_TYPE).cast(pl.String) != IMPRESSION)
    request = _Request(users, depth, min(max(window_days, _MIN_WINDOW_DAYS), _MAX_WINDOW_DAYS))
    found = _cheap(had, request, as_of_ms, weights)
    log = Interactions.of(had, as_of_ms, weights)
    shown = log if had.height == history.height else Interactions.of(history, as_of_ms, weights)
    for name in (name for name in STRONG if name in names):
        if name == CLICK_RATE and shown is log:
            _log.warning("baseline left out", baseline=name, reason="the log holds no impressions")
            continue
        try:
            found[name] = _strong(name, shown if name == CLICK_RATE else log, request)
        except DataError as error:
            _log.warning("baseline left out", baseline=name, reason=str(error))
    return {name: compared for name, compared in found.items() if name in names}


@dataclass(frozen=True, eq=False)
class _Request:
    users: pl.Series
    depth: int
    window_days: int


def _cheap(
    history: pl.DataFrame, request: _Request, as_of_ms: int, weights: Mapping[str, float] | None
) -> dict[str, Compared]:
    settings = tune_personal_frequency(history, as_of_ms, weights=weights)
    decay, days = settings.decay_per_week, settings.popularity_days
    who = (history, request.users, as_of_ms)

    def popular(*, novel: bool) -> pl.DataFrame:
        return popular_lists(*who, days, depth=request.depth, novel=novel, weights=weights)

    own = personal_frequency(*who, decay, days, depth=request.depth, weights=weights)
    chosen, by_popularity = asdict(settings), {"popularity_days": days}
    return {
        "popular": Compared(
            popular(novel=False), popular(novel=True), {"all": by_popularity, "novel": by_popularity}
        ),
        "personal_frequency": Compared(own, popular(novel=True), {"all": chosen, "novel": by_popularity}),
    }


def _strong(name: str, log: Interactions, request: _Request) -> Compared:
    lists, settings = {}, {}
    tried = {kind: search_of(name, request.window_days, novel=kind == "novel") for kind in ("all", "novel")}
    trials = sum(search.num_trials for search in tried.values())
    validation = Validation.of(log, request.window_days) if trials else None
    with progress(f"tuning and fitting {name}", trials + len(tried)) as advance:
        for kind, search in tried.items():
            novel = kind == "novel"
            best = (
                search.start if validation is None else tune(search, validation, novel=novel, advance=advance)
            )
            fitted = log.made(("fitted", best), partial(best.fit, log))
            lists[kind] = fitted.lists(request.users, request.depth, novel=novel)
            settings[kind] = asdict(best)
            advance(1)
    return Compared(lists["all"], lists["novel"], settings)
