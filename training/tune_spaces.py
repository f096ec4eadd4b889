"""The settings that ``recsys tune`` searches, and between which bounds.

A setting of the configuration that lies outside its bounds widens them, so that a search can always begin
with the settings as they are. What costs memory or time at serving, such as the vectors' dimension, is not
searched: more would always be a little better.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import optuna

from recsys.config import Config

Setting = bool | int | float | str
Settings = Mapping[str, Setting]
"""Values by the name of a setting within its section."""


@dataclass(frozen=True)
class Between:
    """A number from ``low`` to ``high``; a whole one when both are.

    A setting of 0 puts 0 within the bounds, and then the scale is linear whatever ``log`` says.
    """

    low: int | float
    high: int | float
    log: bool = False

    def suggest(self, trial: optuna.Trial, name: str, now: int | float) -> Setting:
        """What the trial's sampler proposes."""
        low, high = min(self.low, now), max(self.high, now)
        log = self.log and low > 0
        if isinstance(self.low, int):
            return trial.suggest_int(name, int(low), int(high), log=log)
        return trial.suggest_float(name, low, high, log=log)


@dataclass(frozen=True)
class OneOf:
    """One of a few values."""

    choices: tuple[Setting, ...]

    def suggest(self, trial: optuna.Trial, name: str, now: Setting) -> Setting:
        """What the trial's sampler proposes."""
        value = trial.suggest_categorical(name, tuple(dict.fromkeys((*self.choices, now))))
        assert value is not None  # none of the choices is
        return value


SPACES: Mapping[str, Mapping[str, Between | OneOf]] = MappingProxyType(
    {
        "encoder": {
            "strategy": OneOf(("last_n", "frozen")),
            "learning_rate": Between(3e-4, 1e-2, log=True),
            "encoder_learning_rate": Between(3e-5, 1e-3, log=True),
            "num_head_steps": Between(100, 800),
            "num_tuning_steps": Between(50, 300),
            "history_length": OneOf((20, 50, 100)),
            "temperature": Between(0.03, 0.2, log=True),
            "weight_decay": Between(1e-4, 0.1, log=True),
            "dropout": Between(0.0, 0.4),
        },
        "ranker": {
            "num_leaves": Between(7, 127, log=True),
            "learning_rate": Between(0.03, 0.2, log=True),
            "min_data_in_leaf": Between(10, 1000, log=True),
            "feature_fraction": Between(0.2, 1.0),
            "l2": Between(0.1, 100.0, log=True),
        },
    }
)
"""What is searched, by section of the configuration."""


def as_they_are(section: str, config: Config) -> dict[str, Any]:
    """The configuration's own values of what is searched."""
    return {name: getattr(getattr(config, section), name) for name in SPACES[section]}


def suggested(trial: optuna.Trial, section: str, config: Config) -> Config:
    """The configuration with what a trial proposes.

    Args:
        trial: The trial.
        section: ``encoder`` or ``ranker``.
        config: The configuration as it is.
    """
    now = as_they_are(section, config)
    chosen = {name: space.suggest(trial, name, now[name]) for name, space in SPACES[section].items()}
    return with_settings(config, section, chosen if chosen == now else rounded(chosen))


def rounded(settings: Settings) -> dict[str, Setting]:
    """Settings with numbers of three significant digits: what lies behind them is noise.

    >>> rounded({"learning_rate": 0.0123456, "num_leaves": 127})
    {'learning_rate': 0.0123, 'num_leaves': 127}
    """
    return {
        name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in settings.items()
    }


def with_settings(config: Config, section: str, settings: Settings) -> Config:
    """A configuration with some settings of one section replaced, and validated.

    Args:
        config: The configuration to start from.
        section: ``encoder`` or ``ranker``.
        settings: What to replace.
    """
    changed = config.model_dump()
    changed[section] |= settings
    return Config.model_validate(changed)
