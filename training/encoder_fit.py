"""Fine-tunes the text encoder on an event log: from texts and events to towers and item vectors."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytorch_lightning as lightning
import torch
from jaxtyping import Float
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader

from recsys.calibration import Calibration
from recsys.catalogue import Catalogue
from recsys.config import Config
from recsys.encoder import TextEncoder, Towers, encode_states, frozen_states, model_path
from recsys.errors import DataError
from recsys.progress import progress
from recsys.schema import DAY_MS, EFFECTIVE_TIME
from training.calibration_fit import fit_calibration
from training.encoder_module import EncoderModule, TextTable, num_steps
from training.interrupt import LetInterruptsThrough
from training.next_items import NextItems, collate
from training.progress_bar import StepBar

_POSITIVES_PER_MOMENT = 6
_VALIDATION_BATCHES = 4
_CALIBRATION_MOMENTS = 1_000
_CALIBRATION_TEXTS = 200


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
    curve: list[tuple[int, float]]
    """Validation loss by step."""
    num_moments: int
    """Moments that were there to train on."""


def fit_encoder(
    catalogue: Catalogue, events: pl.LazyFrame, until_ms: int, config: Config, log_dir: Path
) -> FittedEncoder:
    """Fine-tune the encoder on the events before ``until_ms``.

    The last ``validation_days`` stop the training early; they are not trained on.

    Raises:
        DataError: No user has events at two different times, so there is no next item to learn from.
    """
    settings = config.encoder
    lightning.seed_everything(config.seed, verbose=False)
    seen = events.filter(pl.col(EFFECTIVE_TIME).dt.epoch("ms") < until_ms).collect()
    split_ms = until_ms - round(settings.validation_days * DAY_MS)
    train = _examples(
        seen.filter(pl.col(EFFECTIVE_TIME).dt.epoch("ms") < split_ms), catalogue, config, from_ms=0
    )
    validation = _examples(seen, catalogue, config, from_ms=split_ms)
    if not len(train) or not len(validation):
        raise DataError(
            "the encoder learns from users with events at two or more times: found "
            f"{len(train)} such moments to train on and {len(validation)} in the last "
            f"{settings.validation_days:g} days to validate on; ingest a longer log"
        )
    num_upper = settings.num_trained_layers if settings.strategy == "last_n" else 0
    encoder = TextEncoder(model_path(settings.model), num_upper, settings.max_tokens)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder.to(device)
    with progress("reading texts", len(catalogue.texts)) as advance:
        states = frozen_states(encoder, catalogue.texts, advance)
    frozen_base = encode_states(encoder, states)
    counts = torch.from_numpy(
        train.text_counts(len(catalogue.texts)) + validation.text_counts(len(catalogue.texts))
    )
    table = TextTable(
        states=states,
        base=frozen_base.clone(),
        log_frequency=(counts.clamp(min=1) / counts.sum()).log().float(),
        used=counts.nonzero().squeeze(1),
    )
    towers = Towers(encoder.width, settings)
    towers.item.start_from(frozen_base[table.used])
    module = EncoderModule(encoder, towers, table, settings)
    _run(module, train, validation, config, log_dir)
    module.restore_best()
    module.cpu().eval()
    table.base[:] = encode_states(encoder.to(device), states)
    encoder.cpu().eval()
    return FittedEncoder(
        encoder=encoder,
        towers=towers,
        base=table.base,
        frozen_base=frozen_base,
        fitted_until_ms=until_ms,
        calibration=_calibrate(module, validation, table, until_ms),
        curve=module.curve,
        num_moments=len(train),
    )


@torch.inference_mode()
def _calibrate(module: EncoderModule, validation: NextItems, table: TextTable, until_ms: int) -> Calibration:
    """Fit the interest probability: will a text among the user's nearest be in the user's next basket?"""
    kept = torch.randperm(len(validation), generator=torch.Generator().manual_seed(0))[
        :_CALIBRATION_MOMENTS
    ].tolist()
    batch = collate([validation[i] for i in kept])
    vectors = module.towers.item(table.base[table.used])
    similarity, nearest = (module.user_vectors(batch) @ vectors.T).topk(min(_CALIBRATION_TEXTS, len(vectors)))
    positive = torch.zeros(len(kept), len(table.base), dtype=torch.bool)
    positive[batch.pair_user, batch.pair_text] = True
    engaged = positive.gather(1, table.used[nearest])
    return fit_calibration(similarity.double().flatten().numpy(), engaged.flatten().numpy(), until_ms)


def _examples(events: pl.DataFrame, catalogue: Catalogue, config: Config, *, from_ms: int) -> NextItems:
    return NextItems(
        events,
        catalogue,
        config.state,
        from_ms=from_ms,
        history_length=config.encoder.history_length,
        max_positives=_POSITIVES_PER_MOMENT,
        seed=config.seed,
    )


def _run(
    module: EncoderModule, train: NextItems, validation: NextItems, config: Config, log_dir: Path
) -> None:
    settings = config.encoder
    moments = max(settings.batch_size // _POSITIVES_PER_MOMENT, 2)
    generator = torch.Generator().manual_seed(config.seed)
    steps = num_steps(settings)
    batches = DataLoader(
        train,
        batch_size=moments,
        sampler=torch.utils.data.RandomSampler(
            train, replacement=True, num_samples=steps * moments, generator=generator
        ),
        collate_fn=collate,
    )
    kept = torch.randperm(len(validation), generator=generator)[: 4 * moments * _VALIDATION_BATCHES].tolist()
    held_out = DataLoader(
        torch.utils.data.Subset(validation, kept), batch_size=4 * moments, collate_fn=collate
    )
    trainer = lightning.Trainer(
        max_steps=steps,
        val_check_interval=min(settings.validate_every, steps),
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        gradient_clip_val=settings.gradient_clip,
        callbacks=[
            EarlyStopping("val_loss", patience=settings.patience),
            StepBar(steps),
            LetInterruptsThrough(),
        ],
        logger=TensorBoardLogger(log_dir, name="encoder", version=""),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=10,
        deterministic=True,
    )
    with warnings.catch_warnings():
        # Lightning advises worker processes: the examples are built faster than they are consumed.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # The transformer's own dropout stays off: its base vectors are also read from the table.
        warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
        # Lightning's tree functions trail PyTorch's.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        trainer.fit(module, batches, held_out)
