"""All feature families together: names, fingerprint, and both evaluations."""

import hashlib
import json
from collections.abc import Collection, Mapping
from types import ModuleType

import numpy as np
import polars as pl
from jaxtyping import Float32, Float64, Int64

from features import (
    alike,
    collaborative,
    item,
    item_history,
    price,
    season,
    shown,
    standing,
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
from recsys.moment import Moment, Parts
from recsys.schema import QUERY_ID

_LOG_FAMILIES: tuple[ModuleType, ...] = (user_item, user_attribute, item, user)
_MOMENT_FAMILIES: tuple[ModuleType, ...] = (
    text_interest,
    collaborative,
    alike,
    item_history,
    taste,
    price,
    season,
    standing,
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


def names_of_families(config: StateConfig, families: Collection[str]) -> set[str]:
    """The names of some families' features; of those that the configuration leaves out there are none."""
    kept = [family for group in _families(config) for family in group]
    return {
        feature.name
        for family in kept
        if family.__name__.rpartition(".")[2] in families
        for feature in family.features(config)
    }


def fingerprint(config: StateConfig) -> str:
    """Changes whenever a name, a meaning, the order or a rule of the state changes; 64 hexadecimal digits."""
    apart = {"leave_out_families", "most_acts_together"}  # the names tell; tables lie in the bundle
    rules = config.model_dump(mode="json", exclude=apart)
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
    log: OfflineLog, pairs: pl.DataFrame, moments: Mapping[int, Moment]
) -> Float64[np.ndarray, "pairs features"]:
    """Every feature of a table of pairs, columns as ``names``.

    Args:
        log: The queries and the events they may see.
        pairs: ``query_id, item_position``, grouped by query.
        moments: The moment of each query, built offline.

    Raises:
        LeakageError: A fitted part saw events at or after a query.
    """
    blocks = [
        moment_matrix(moments[int(str(query_id))], rows[POSITION].to_numpy())
        for (query_id,), rows in pairs.group_by(QUERY_ID, maintain_order=True)
    ]
    from_moments = np.concatenate(blocks) if blocks else np.empty((0, num_moment_features(log.config.state)))
    matrix: Float64[np.ndarray, "pairs features"] = np.column_stack((log_matrix(log, pairs), from_moments))
    return matrix


def log_matrix(log: OfflineLog, pairs: pl.DataFrame) -> Float64[np.ndarray, "pairs log_features"]:
    """The behavioural features of a table of pairs, computed in Polars from the log; the first ``names``."""
    families, _ = _families(log.config.state)
    found = [family.offline(log, pairs.lazy()).collect().fill_null(np.nan).to_numpy() for family in families]
    matrix: Float64[np.ndarray, "pairs log_features"] = np.column_stack((np.empty((pairs.height, 0)), *found))
    return matrix


def moment_matrix(
    moment: Moment, positions: Int64[np.ndarray, " items"]
) -> Float64[np.ndarray, "items moment_features"]:
    """The features that read the fitted parts or depend on the list, for a whole list: the last of ``names``.

    Raises:
        LeakageError: A fitted part saw events at or after the moment.
    """
    require_parts_fitted_before(moment.parts, moment.as_of_ms)
    _, families = _families(moment.parts.config.state)
    found = [family.online(moment, positions) for family in families]
    matrix: Float64[np.ndarray, "items moment_features"] = np.column_stack(
        (np.empty((len(positions), 0)), *found)
    )
    return matrix


def require_parts_fitted_before(parts: Parts, as_of_ms: int) -> None:
    """Refuse parts that know what happened at or after a moment.

    Raises:
        LeakageError: A fitted part saw events at or after the moment.
    """
    for part, fitted_until_ms in parts.fitted_until().items():
        require_fitted_before(part, fitted_until_ms, as_of_ms)


def num_moment_features(config: StateConfig) -> int:
    """Columns of ``moment_matrix``."""
    return sum(len(family.features(config)) for family in _families(config)[1])


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
