"""Fine-tunes the text encoder on an event log: from texts and events to towers and item vectors."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import polars as pl
import pytorch_lightning as lightning
from jaxtyping import Float
from torch import Tensor

from recsys.calibration import Calibration, Reliability
from recsys.catalogue import Catalogue
from recsys.config import Config
from recsys.encoder import TextEncoder, Towers
from recsys.pretrained import model_path
from recsys.runner import Group, Runner
from recsys.schema import EFFECTIVE_TIME, EVENT_TYPE, ITEM_ID, LIST_ID, POSITION, USER_ID
from training import adapters
from training.calibration_fit import calibrate
from training.checkpoint import Checkpoints
from training.encoder_group import train_together
from training.encoder_module import EncoderModule
from training.encoder_trainer import run_training
from training.examples import split_examples
from training.text_shards import encode_in_shards
from training.text_table import EncodeAll, encode_all, read_texts


@dataclass(frozen=True)
class FittedEncoder:
    """A trained encoder and the vectors of every text."""

    encoder: TextEncoder
    towers: Towers
    base: Float[Tensor, "texts width"]
    """Base vectors of the catalogue's texts after training."""
    frozen_base: Float[Tensor, "texts width"]
    """The same before training."""
    fitted_until_ms: int
    """No event at or after this was seen; milliseconds since the epoch."""
    calibration: Calibration
    reliability: Reliability
    """The calibrated probabilities against held-out data that they were not fitted on."""
    curve: list[tuple[int, float]]
    """Validation loss by step."""
    num_moments: int
    """Moments that were there to train on."""
    num_lists: int
    """Ranked lists that were there to train on."""
    processes: Mapping[str, int] = field(default_factory=dict)
    """Of a cluster: what ``training.encoder_group.train_together`` returns."""


def fit_encoder(  # noqa: PLR0917 (the first five are given in this order)
    catalogue: Catalogue,
    events: pl.LazyFrame,
    until_ms: int,
    config: Config,
    log_dir: Path,
    checkpoint_dir: Path | None = None,
    runner: Runner | None = None,
) -> FittedEncoder:
    """Fine-tune the encoder on the events before ``until_ms``.

    The last ``validation_days``, or fifth of the events, stop the training early and calibrate it; they are
    not trained on.

    Args:
        catalogue: The items.
        events: The event log.
        until_ms: End of the data, exclusive; milliseconds since the epoch.
        config: The run configuration.
        log_dir: Where the learning curves go.
        checkpoint_dir: Where a killed run leaves what the next call, with the same data and settings, goes on
            from; ``encoder-checkpoint`` beside ``log_dir`` when absent. A run that ends deletes it.
        runner: Where the texts are read, in shards, and, by a ``Group``, the encoder is trained; in this
            process when absent.

    Raises:
        ConfigError: The encoder's directory holds none, or a setting needs a package that is not installed.
        DataError: No user has events at two different times, so there is no next item to learn from.
    """
    settings = config.encoder
    lightning.seed_everything(config.seed, verbose=False)
    path = model_path(settings.model)
    encoder = TextEncoder(path, adapters.num_upper_layers(settings), settings.max_tokens)
    lora = adapters.prepare(encoder, settings)
    seen = seen_before(events, until_ms)
    train, validation = split_examples(seen, catalogue, config, until_ms)
    run = _fingerprint(seen, catalogue, until_ms, config, path)
    del seen
    encode = _encode_by(runner, catalogue.texts, log_dir) if runner is not None else encode_all
    budget = adapters.state_budget(settings)
    table = read_texts(encoder, catalogue.texts, train, validation, budget, encode=encode)
    towers = Towers(encoder.width, settings)
    towers.item.start_from(table.frozen_base[table.used])
    module = EncoderModule(encoder, towers, table, settings, train.shown.rate if train.shown else 0.0)
    checkpoints = Checkpoints((checkpoint_dir or log_dir.parent / "encoder-checkpoint").absolute(), run)
    fit = partial(train_together, runner) if isinstance(runner, Group) else run_training
    processes = fit(module, train, validation, config=config, log_dir=log_dir, checkpoints=checkpoints)
    if lora is not None:
        adapters.merge(lora)
    if settings.strategy != "frozen":
        table.base = table.base.new_empty(0, encoder.width)  # not beside those that take its place
        table.base = encode(encoder, table.states, "reading texts again")
    calibration, reliability = calibrate(module, validation, until_ms)
    checkpoints.remove()
    return FittedEncoder(
        encoder=encoder.requires_grad_(requires_grad=False),
        towers=towers,
        base=table.base,
        frozen_base=table.frozen_base,
        fitted_until_ms=until_ms,
        calibration=calibration,
        reliability=reliability,
        curve=module.curve,
        num_moments=len(train.next_items),
        num_lists=len(train.shown) if train.shown else 0,
        processes=processes or {},
    )


def seen_before(events: pl.LazyFrame, until_ms: int) -> pl.DataFrame:
    """What the examples are made of: the columns of earlier events that say who met what, when and where."""
    known = events.collect_schema().names()
    read = (USER_ID, ITEM_ID, EVENT_TYPE, EFFECTIVE_TIME, LIST_ID, POSITION)
    earlier = events.filter(pl.col(EFFECTIVE_TIME).dt.epoch("ms") < until_ms)
    return earlier.select(name for name in read if name in known).collect()


def _encode_by(runner: Runner, texts: Sequence[str], directory: Path) -> EncodeAll:
    return lambda encoder, _, label: encode_in_shards(runner, encoder, texts, directory, label)


def _fingerprint(seen: pl.DataFrame, catalogue: Catalogue, until_ms: int, config: Config, path: Path) -> str:
    """Of everything that decides what a run comes to."""
    found = hashlib.sha256(f"{until_ms} {config.seed}".encode())
    for part in (config.encoder.model_dump_json(), config.state.model_dump_json(), *catalogue.texts):
        found.update(part.encode())
    found.update(catalogue.text_of_item.tobytes())
    found.update(seen.hash_rows(seed=0).to_numpy().tobytes())
    for file in sorted(path.glob("*.safetensors")):
        found.update(file.read_bytes())
    return found.hexdigest()
