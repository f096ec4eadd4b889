"""How many steps the encoder is trained for, and at which learning rates."""

import math

import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import nn

from recsys.config import EncoderConfig

_INTEREST_LEARNING_RATE = 0.05
"""Slope and intercept are two numbers with far to go."""
_WARM_STEPS = 20


def num_steps(config: EncoderConfig) -> int:
    """Training steps of both phases."""
    return config.num_head_steps + (config.num_tuning_steps if config.strategy != "frozen" else 0)


def optimisation(
    config: EncoderConfig,
    towers: list[nn.Parameter],
    layers: list[nn.Parameter],
    interest: list[nn.Parameter],
) -> OptimizerLRSchedulerConfig:
    """AdamW; the heads warm up and decay over all steps, the layers over the second phase alone."""
    total = num_steps(config)

    def over_all(step: int) -> float:
        return _warm_cosine(step, total)

    def over_second(step: int) -> float:
        return _warm_cosine(step - config.num_head_steps, max(config.num_tuning_steps, 1))

    groups = [
        {"params": towers, "lr": config.learning_rate},
        {"params": layers, "lr": config.encoder_learning_rate},
        {"params": interest, "lr": _INTEREST_LEARNING_RATE, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, [over_all, over_second, over_all])
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _warm_cosine(step: int, total: int) -> float:
    if step < 0:
        return 0.0
    return min(1.0, (step + 1) / _WARM_STEPS) * 0.5 * (1 + math.cos(math.pi * min(step / total, 1.0)))
