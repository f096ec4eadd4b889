"""Measures the text encoder: reading texts and training, beside sentence-transformers on the same machine.

Called by the benchmarks; figures of one run compare with each other, not with those of another machine.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytorch_lightning as lightning
import torch
from jaxtyping import Float
from torch import Tensor

from recsys.catalogue import Catalogue
from recsys.config import Config, EncoderConfig
from recsys.datasets import complete_journey
from recsys.encoder import TextEncoder, Towers, encode_texts
from recsys.pretrained import model_path
from recsys.progress import progress
from recsys.schema import EFFECTIVE_TIME, EVENT_TIME, ITEM_ID, USER_ID
from training import adapters
from training.encoder_module import EncoderModule
from training.examples import Examples, split_examples
from training.steps import StepLoader, Steps, TrainingBatch
from training.text_table import read_texts

STRATEGIES = ("full", "lora", "last_n", "frozen")
_WARM_STEPS = 2


@dataclass(frozen=True)
class StepSpeed:
    """What one strategy's steps take."""

    pairs_per_second: float
    """Positive pairs per second in the median step; lower layers are read beforehand where they are kept."""
    peak_memory_mb: float
    """Largest resident memory of the process, in MiB, with the libraries and the data."""


def encode_speed(num_texts: int = 1_500, rounds: int = 3) -> dict[str, float]:
    """Distinct texts per second of this encoder and of sentence-transformers with its defaults.

    Both read the same texts with the same model, in turn; the best round of each counts, for other programs
    only ever make a round slower.

    Args:
        num_texts: Texts of the Complete Journey's catalogue, drawn at random.
        rounds: Rounds of each.

    Returns:
        ``texts_per_second``, ``sentence_transformers_texts_per_second`` and ``least_cosine`` between the two
        vectors of a text.
    """
    from sentence_transformers import SentenceTransformer

    config = EncoderConfig()
    path = model_path(config.model)
    texts = pl.Series(Catalogue(complete_journey.read().items).texts).sample(num_texts, seed=0).to_list()
    other, ours = SentenceTransformer(str(path), device="cpu"), TextEncoder(path, 1, config.max_tokens)

    def by_other(texts: Sequence[str]) -> Float[Tensor, "texts width"]:
        return torch.from_numpy(other.encode(list(texts), normalize_embeddings=True, show_progress_bar=False))

    ways: dict[str, Callable[[], Tensor]] = {
        "texts_per_second": lambda: encode_texts(ours, texts),
        "sentence_transformers_texts_per_second": lambda: by_other(texts),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with progress("reading texts", rounds * len(ways)) as advance:
        for _ in range(rounds):
            for name, read in ways.items():
                started = time.perf_counter()
                read()
                seconds[name].append(time.perf_counter() - started)
                advance(1)
    some = texts[:200]
    cosine = torch.nn.functional.cosine_similarity(encode_texts(ours, some), by_other(some))
    speeds = {name: len(texts) / min(taken) for name, taken in seconds.items()}
    return speeds | {"least_cosine": float(cosine.min())}


def training_speed(num_pairs: int = 96, num_steps: int = 6) -> dict[str, StepSpeed]:
    """Speed and memory of training steps by strategy, each in a process of its own.

    Args:
        num_pairs: Positive pairs per step, about.
        num_steps: Steps that are measured.
    """
    found = {}
    with progress("training steps", len(STRATEGIES)) as advance:
        for strategy in STRATEGIES:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                found[strategy] = pool.submit(step_speed, strategy, num_pairs, num_steps).result()
            advance(1)
    return found


def step_speed(strategy: str, num_pairs: int, num_steps: int) -> StepSpeed:
    """Measure the steps of one strategy in this process, on the most bought items."""
    config, catalogue, train, validation = _workload(strategy, num_pairs)
    settings = config.encoder
    encoder = TextEncoder(
        model_path(settings.model), adapters.num_upper_layers(settings), settings.max_tokens
    )
    adapters.prepare(encoder, settings)
    table = read_texts(encoder, catalogue.texts, train, validation, adapters.state_budget(settings))
    towers = Towers(encoder.width, settings)
    module = EncoderModule(encoder, towers, table, settings)
    clock = _Clock()
    total = _WARM_STEPS + num_steps
    steps = Steps(train, total, num_pairs // 6, 2, torch.Generator().manual_seed(0))
    trainer = lightning.Trainer(
        max_steps=total, barebones=True, accelerator="cpu", callbacks=[clock], gradient_clip_val=1.0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice about workers and logging
        trainer.fit(module, StepLoader(steps))
    return StepSpeed(median(clock.speeds[_WARM_STEPS:]), getrusage(RUSAGE_SELF).ru_maxrss / 1024)


def sentence_transformers_speed(num_pairs: int = 96, num_steps: int = 4) -> float:
    """Pairs per second of sentence-transformers' own trainer, every layer tuned, in float32.

    The pairs are an item's text and that of an item in the same household's next basket; each text of a pair
    is read anew, as that trainer does.
    """
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments as Arguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from transformers import TrainerCallback

    config, catalogue, train, _ = _workload("full", num_pairs)
    total = _WARM_STEPS + num_steps
    examples = [train.next_items[i] for i in range(0, len(train.next_items), 7)][: total * num_pairs]
    rows = [
        {"anchor": catalogue.texts[e.history.texts[0]], "positive": catalogue.texts[e.positives[0]]}
        for e in examples
    ]
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            times.append(time.perf_counter())

    model = SentenceTransformer(str(model_path(config.encoder.model)), device="cpu")
    with TemporaryDirectory() as directory:
        given = Arguments(
            output_dir=str(Path(directory)),
            per_device_train_batch_size=num_pairs,
            max_steps=total,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        SentenceTransformerTrainer(
            model=model,
            args=given,
            train_dataset=Dataset.from_list(rows),
            loss=MultipleNegativesRankingLoss(model),
            callbacks=[Clock()],
        ).train()
    taken = [after - before for before, after in pairwise(times)]
    return num_pairs / median(taken[_WARM_STEPS - 1 :])


def bench_encoder() -> dict[str, Any]:
    """Every figure, under the names that ``make bench`` writes."""
    training = training_speed()
    return {
        "encode": encode_speed(),
        "train": {
            "pairs_per_second": {name: speed.pairs_per_second for name, speed in training.items()},
            "peak_memory_mb": {name: speed.peak_memory_mb for name, speed in training.items()},
            "sentence_transformers_pairs_per_second": sentence_transformers_speed(),
        },
    }


class _Clock(lightning.Callback):
    """Pairs per second of every step."""

    def __init__(self) -> None:
        self.speeds: list[float] = []

    def on_train_batch_start(self, *given: object) -> None:
        *_, batch, _ = given
        assert isinstance(batch, TrainingBatch)
        assert batch.next_items is not None
        self._pairs, self._started = len(batch.next_items.pair_text), time.perf_counter()

    def on_train_batch_end(self, *_: object) -> None:
        self.speeds.append(self._pairs / (time.perf_counter() - self._started))


def _workload(
    strategy: str, num_pairs: int, num_items: int = 2_000
) -> tuple[Config, Catalogue, Examples, Examples]:
    """The Complete Journey's most bought items, and some households' purchases of them."""
    tables = complete_journey.read()
    households = tables.events[USER_ID].unique().sort()[:100]
    events = tables.events.filter(pl.col(USER_ID).is_in(households.implode()))
    popular = events[ITEM_ID].value_counts(sort=True)[ITEM_ID][:num_items]
    catalogue = Catalogue(tables.items.filter(pl.col(ITEM_ID).is_in(popular.implode())))
    given = {"strategy": strategy, "batch_size": num_pairs, "num_head_steps": 1, "num_tuning_steps": 1_000}
    config = Config(encoder=EncoderConfig.model_validate(given))
    seen = events.with_columns(pl.col(EVENT_TIME).alias(EFFECTIVE_TIME))
    end = seen.select(pl.col(EVENT_TIME).dt.epoch("ms").max()).item()
    return config, catalogue, *split_examples(seen, catalogue, config, end + 1)
