"""All feature families together: names, fingerprint, and both evaluations."""

import hashlib
import json
from collections.abc import Mapping
from types import ModuleType

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Float64, Int64

from features import (
    alike,
    collaborative,
    item,
    item_history,
    price,
    shown,
    taste,
    text_interest,
    user,
    user_attribute,
    user_item,
)
from features.definition import Feature
from features.log import POSITION, OfflineLog, require_fitted_before
from recsys.config import StateConfig
from recsys.errors import ConfigError
from recsys.moment import Moment
from recsys.schema import QUERY_ID

_LOG_FAMILIES: tuple[ModuleType, ...] = (user_item, user_attribute, item, user)
_MOMENT_FAMILIES: tuple[ModuleType, ...] = (
    text_interest,
    collaborative,
    alike,
    item_history,
    taste,
    price,
    shown,
)


def family_names() -> tuple[str, ...]:
    """Every family by the last part of its module's name, as ``state.leave_out_families`` takes them."""
    return tuple(family.__name__.rpartition(".")[2] for family in (*_LOG_FAMILIES, *_MOMENT_FAMILIES))


def definitions(config: StateConfig) -> tuple[Feature, ...]:
    """Every feature, in column order.

    Raises:
        ConfigError: ``state.leave_out_families`` names a family that does not exist, or leaves nothing.
    """
    log_families, moment_families = _families(config)
    return tuple(
        feature for family in (*log_families, *moment_families) for feature in family.features(config)
    )


def names(config: StateConfig) -> tuple[str, ...]:
    """Every feature's name, in column order."""
    return tuple(feature.name for feature in definitions(config))


def fingerprint(config: StateConfig) -> str:
    """Changes whenever a name, a meaning, the order or a rule of the state changes; 64 hexadecimal digits."""
    rules = config.model_dump(mode="json", exclude={"leave_out_families"})  # the names tell
    content = [[f.name, f.meaning] for f in definitions(config)], rules
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class OnlineFeatures:
    """The online side of every family; ``recsys.pipeline.FeatureSource``."""

    def __init__(self, config: StateConfig) -> None:
        self.names = names(config)
        self.fingerprint = fingerprint(config)
        self.words = {feature.name: feature.words for feature in definitions(config)}

    def matrix(
        self, moment: Moment, positions: Int64[np.ndarray, " items"]
    ) -> Float32[np.ndarray, "items features"]:
        """Ranker input of many items for one moment, columns as ``names``."""
        return as_ranker_input(online_matrix(moment, positions))


def online_matrix(
    moment: Moment, positions: Int64[np.ndarray, " items"]
) -> Float64[np.ndarray, "items features"]:
    """Every feature of many items for one moment, columns as ``names``."""
    log_families, moment_families = _families(moment.parts.config.state)
    return np.column_stack([family.online(moment, positions) for family in (*log_families, *moment_families)])


def offline_matrix(
    log: OfflineLog,
    pairs: pl.DataFrame,
    moments: Mapping[int, Moment],
    keep: Bool[np.ndarray, " pairs"] | None = None,
) -> Float64[np.ndarray, "kept features"]:
    """Every feature of a table of pairs, columns as ``names``.

    The behavioural families are computed in Polars from the log. The families that read the fitted parts or
    depend on the list run over each query's history, on the whole list, before ``keep`` thins it.

    Args:
        log: The queries and the events they may see.
        pairs: ``query_id, item_position``, grouped by query.
        moments: The moment of each query, built offline.
        keep: Pairs to compute; all when absent.

    Raises:
        LeakageError: A fitted part saw events at or after a query.
    """
    for moment in moments.values():
        for part, fitted_until_ms in moment.parts.fitted_until().items():
            require_fitted_before(part, fitted_until_ms, moment.as_of_ms)
    keep = np.ones(pairs.height, bool) if keep is None else keep
    kept = pairs.filter(keep).lazy()
    log_families, moment_families = _families(log.config.state)
    columns = [family.offline(log, kept).collect().fill_null(np.nan).to_numpy() for family in log_families]
    blocks = [np.empty((0, sum(len(family.features(log.config.state)) for family in moment_families)))]
    for (query_id,), rows in pairs.group_by(QUERY_ID, maintain_order=True):
        positions = rows[POSITION].to_numpy()
        moment = moments[int(str(query_id))]
        found = [family.online(moment, positions) for family in moment_families]
        blocks.append(np.column_stack((np.empty((len(positions), 0)), *found)))
    matrix: Float64[np.ndarray, "kept features"] = np.column_stack((*columns, np.concatenate(blocks)[keep]))
    return matrix


def _families(config: StateConfig) -> tuple[list[ModuleType], list[ModuleType]]:
    """The families that are computed from the log offline, and those that read a moment."""
    every = dict(zip(family_names(), (*_LOG_FAMILIES, *_MOMENT_FAMILIES), strict=True))
    left_out = set(config.leave_out_families)
    if left_out - every.keys() or left_out == every.keys():
        raise ConfigError(
            f"state.leave_out_families takes some of {', '.join(every)}, and not all of them; got "
            f"{', '.join(config.leave_out_families)}"
        )
    kept = [family for name, family in every.items() if name not in left_out]
    return [f for f in kept if f in _LOG_FAMILIES], [f for f in kept if f in _MOMENT_FAMILIES]


def as_ranker_input(matrix: Float64[np.ndarray, "rows features"]) -> Float32[np.ndarray, "rows features"]:
    """Features as the ranker reads them, in training and serving: float32, infinities clipped."""
    limit = np.finfo(np.float32).max
    clipped: Float32[np.ndarray, "rows features"] = np.clip(matrix, -limit, limit).astype(np.float32)
    return clipped
