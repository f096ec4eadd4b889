"""A label window of the greengrocer's: what happened before it, and the decisions of what happens in it."""

from recsys.config import Config, PlacementConfig, RankerConfig
from recsys.moment import Parts
from recsys.schema import DAY_MS
from tests.recsys.small_catalogue import (
    HOUR_MS,
    NOW,
    Event,
    events_frame,
    greengrocer,
    parts_without_encoder,
    shopping,
    small_config,
)
from training.decision_table import collect_decisions, decision_table
from training.decisions import Decisions

CATALOGUE = greengrocer()
HISTORY = shopping(CATALOGUE, num_users=4)
END = NOW + 7 * DAY_MS


def configured(num_negatives: int = 100, sources: tuple[str, ...] = ("own",)) -> Config:
    """Settings in which only the named sources offer anything."""
    return small_config().model_copy(
        update={
            "ranker": RankerConfig(num_negatives=num_negatives),
            "placements": {"home": PlacementConfig(sources=sources)},
        }
    )


def parts_for(config: Config) -> Parts:
    return parts_without_encoder(HISTORY, config)


def items_of(user_id: str) -> list[str]:
    return sorted({item_id for who, item_id, _, _ in HISTORY if who == user_id})


def collect(future: list[Event], config: Config, orders: str = "all") -> Decisions:
    return collect_decisions(events_frame([*HISTORY, *future]), parts_for(config), NOW, END)[orders]


def num_lost(future: list[Event], config: Config) -> int:
    return decision_table(events_frame([*HISTORY, *future]), parts_for(config), NOW, END).lost


def bought(user_id: str, item_id: str, name: str = "purchase") -> Event:
    return user_id, item_id, name, NOW + HOUR_MS
