"""The settings that tuning tries, by baseline: few, because each one costs a fit.

Own frequencies, and how close an item is to itself, say nothing about items that are new to a user, so that
they are tried for lists of everything only.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from training.baselines.als import Als
from training.baselines.click_rate import ClickRate
from training.baselines.ease import Ease
from training.baselines.item_knn import ItemKnn
from training.baselines.tifu_knn import TifuKnn
from training.baselines.tuning import Change, Search
from training.baselines.two_stage import TwoStageLightgbm

CLICK_RATE = "click_rate"

_Steps = Sequence[Sequence[Change]]


def search_of(name: str, window_days: int, *, novel: bool) -> Search:
    """What is tried for a strong baseline.

    Args:
        name: One of ``STRONG``.
        window_days: Length of the test window in days.
        novel: Whether it is for lists of what is new to the user.
    """
    return _SEARCHES[name](window_days, novel)


def _item_knn(_: int, novel: bool) -> Search:
    steps: _Steps = [
        [{"closeness": "cosine"}, {"closeness": "transitions"}],
        [{"num_neighbours": 200}, {"num_neighbours": 1000}],
        [{"decay_per_week": 0.95}, {"decay_per_week": None}],
        [] if novel else [{"keep_self": True}, {"keep_self": False}],
    ]
    return Search(ItemKnn(decay_per_week=0.95, keep_self=True), steps)


def _ease(_: int, novel: bool) -> Search:
    steps: _Steps = [
        [
            {"decay_per_week": None, "ridge": 300.0},
            {"decay_per_week": 0.95, "ridge": 100.0},
            {"decay_per_week": 0.9, "ridge": 100.0},
        ],
        [
            {"popularity_power": 0.3},
            {"popularity_power": 0.5, "popularity_days": 14},
            {"popularity_power": 0.0},
        ],
        []
        if novel
        else [
            {"own_weight": 1.0, "own_decay_per_week": 0.95},
            {"own_weight": 1.0, "own_decay_per_week": 0.98},
            {"own_weight": 0.0},
        ],
    ]
    return Search(Ease(popularity_power=0.3, own_weight=0.0 if novel else 1.0), steps)


def _als(_: int, novel: bool) -> Search:  # noqa: ARG001 (the same for both)
    steps: _Steps = [
        [
            {"num_factors": 64, "confidence": 1.0, "regularization": 10.0, "decay_per_week": 0.95},
            {"num_factors": 128, "confidence": 3.0, "regularization": 30.0, "decay_per_week": 0.95},
            {"num_factors": 128, "confidence": 3.0, "regularization": 30.0, "decay_per_week": 0.9},
        ]
    ]
    return Search(Als(), steps)


def _tifu_knn(_: int, novel: bool) -> Search:
    steps: _Steps = [
        [{"decay_per_week": 0.95}, {"decay_per_week": 0.98}, {"decay_per_week": 0.9}],
        [{"num_neighbours": 50}, {"num_neighbours": 100}, {"num_neighbours": 300}],
        [] if novel else [{"alpha": 0.6}, {"alpha": 0.7}, {"alpha": 0.8}],
    ]
    return Search(TifuKnn(alpha=0.6), steps)


def _two_stage(window_days: int, novel: bool) -> Search:  # noqa: ARG001 (one fit makes both models)
    return Search(TwoStageLightgbm(window_days=window_days))


def _click_rate(_: int, novel: bool) -> Search:  # noqa: ARG001 (the same for both)
    return Search(ClickRate(), [[{"strength": 5.0}, {"strength": 20.0}, {"strength": 100.0}]])


_SEARCHES: Mapping[str, Callable[[int, bool], Search]] = MappingProxyType(
    {
        "item_knn": _item_knn,
        "ease": _ease,
        "als": _als,
        "tifu_knn": _tifu_knn,
        "two_stage_lightgbm": _two_stage,
        CLICK_RATE: _click_rate,
    }
)
STRONG = tuple(_SEARCHES)
"""Names of the baselines that take time."""
