"""Runs the encoder's training on Lightning: loaders, loggers, early stopping, devices, resumption."""

import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.strategies import StrategyRegistry
from torch.utils.data import DataLoader

from recsys.config import Config, EncoderConfig
from recsys.errors import ConfigError
from training.checkpoint import Checkpoints
from training.encoder_module import EncoderModule
from training.examples import Examples
from training.interrupt import LetInterruptsThrough
from training.progress_bar import StepBar
from training.schedule import num_steps
from training.steps import HeldOut, StepLoader, Steps

_ITEMS_PER_LIST = 24
"""About as many items a list holds; how many lists make a step follows from it."""
_VALIDATION_BATCHES = 4
_MOST_MOMENTS = 512
"""Moments of a validation batch: each meets every text."""


def run_training(
    module: EncoderModule,
    train: Examples,
    validation: Examples,
    *,
    config: Config,
    log_dir: Path,
    checkpoints: Checkpoints,
    in_group: bool = False,
) -> None:
    """Train a module; it ends with its best weights.

    Several processes draw a share of each batch, from all examples; those that Lightning started beside this
    one end here.

    Args:
        module: What is trained.
        train: Examples to train on.
        validation: Examples to validate on.
        config: The run configuration.
        log_dir: Where the learning curves go.
        checkpoints: What a killed run is taken up from.
        in_group: Whether this is a member of a group, see ``recsys.runner``, whose other members do the same.

    Raises:
        ConfigError: The logger's package is not installed, or Lightning knows no such strategy.
    """
    settings = config.encoder
    trainer = _trainer(settings, log_dir, checkpoints, in_group=in_group)
    batch_size = settings.batch_size / trainer.world_size
    moments = max(round(batch_size / train.next_items.mean_positives), 2)
    lists = max(int(batch_size) // _ITEMS_PER_LIST, 2)
    generator = torch.Generator().manual_seed(config.seed + trainer.global_rank)
    held_out = _held_out(validation, min(4 * moments, _MOST_MOMENTS), 4 * lists, generator)
    with warnings.catch_warnings():
        # Lightning advises worker processes: the examples are built faster than they are consumed.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # The transformer's own dropout stays off: its base vectors are also read from the table.
        warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
        # Lightning's tree functions trail PyTorch's.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        to_validate = DataLoader(held_out, batch_size=None)
        if num_steps(settings):
            steps = StepLoader(Steps(train, num_steps(settings), moments, lists, generator))
            trainer.fit(module, steps, to_validate, ckpt_path=checkpoints.found(), weights_only=True)
        else:
            trainer.validate(module, to_validate, verbose=False)
            module.on_fit_end()
    if not (trainer.is_global_zero or in_group):
        raise SystemExit(0)
    module.restore_best()
    module.cpu().eval()


def _held_out(validation: Examples, moments: int, lists: int, generator: torch.Generator) -> HeldOut:
    def some(source: object, size: int) -> list[int]:
        length = len(source) if source is not None else 0  # type: ignore[arg-type]
        return torch.randperm(length, generator=generator)[: size * _VALIDATION_BATCHES].tolist()

    chosen = some(validation.next_items, moments)
    return HeldOut(validation, chosen, some(validation.shown, lists), moments, lists)


def _trainer(
    settings: EncoderConfig, log_dir: Path, checkpoints: Checkpoints, *, in_group: bool
) -> lightning.Trainer:
    steps = num_steps(settings)
    processes = _of_group() if in_group else _of_this_machine(settings)
    return lightning.Trainer(
        max_steps=steps,
        accelerator="auto",
        devices=processes["devices"],
        strategy=processes["strategy"],
        plugins=[*processes["plugins"], checkpoints.io],
        use_distributed_sampler=False,
        val_check_interval=min(settings.validate_every, max(steps, 1)),
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        gradient_clip_val=settings.gradient_clip,
        callbacks=[
            EarlyStopping("val_loss", patience=settings.patience),
            StepBar(steps),
            LetInterruptsThrough(),
            checkpoints,
        ],
        logger=_logger(settings, log_dir),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=min(10, max(steps, 1)),
        deterministic=True,
    )


def _of_this_machine(settings: EncoderConfig) -> dict[str, Any]:
    known = StrategyRegistry.available_strategies()
    if settings.lightning_strategy not in ("auto", *known):
        raise ConfigError(
            f"encoder.lightning_strategy must be auto or one of {', '.join(known)}; "
            f"got {settings.lightning_strategy!r}"
        )
    return {"devices": settings.devices, "strategy": settings.lightning_strategy, "plugins": []}


def _of_group() -> dict[str, Any]:
    """Ray has started the processes and connected them; each trains on what was given to it."""
    from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment

    strategy = RayDDPStrategy(find_unused_parameters=True)  # the first phase leaves the layers alone
    return {"devices": "auto", "strategy": strategy, "plugins": [RayLightningEnvironment()]}


def _logger(settings: EncoderConfig, log_dir: Path) -> Logger:
    if settings.logger == "tensorboard":
        return TensorBoardLogger(log_dir, name="encoder", version="")
    try:
        log_dir.mkdir(parents=True, exist_ok=True)
        return WandbLogger(project="recsys", name=log_dir.name, save_dir=log_dir)
    except ModuleNotFoundError as error:
        raise ConfigError(
            'encoder.logger = "wandb" needs a package that is not installed: pip install ".[wandb]", '
            'or take logger = "tensorboard"'
        ) from error
