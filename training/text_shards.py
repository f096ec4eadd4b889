"""Base vectors of many texts, read in shards wherever a runner has them read."""

import tempfile
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from recsys.encoder import TextEncoder
from recsys.runner import Runner, even_parts
from training.text_states import TextStates
from training.vector_room import room


def encode_in_shards(
    runner: Runner, encoder: TextEncoder, texts: Sequence[str], directory: Path, label: str
) -> Float[Tensor, "texts width"]:
    """What ``training.text_table.encode_all`` gives, but for the rounding of sums over other batches.

    Args:
        runner: Where the shards are read.
        encoder: The encoder as it is now.
        texts: Distinct texts.
        directory: Where the encoder is written to meanwhile; every node reads it there.
        label: What the progress bar says.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix="encoder-") as saved:
        encoder.save(Path(saved))
        task = partial(_encode, saved, len(encoder.upper.layer), encoder.max_tokens)
        parts = even_parts(len(texts), runner.num_shards)
        found = runner.run(task, [list(texts[part]) for part in parts], label)
    base = room(len(texts), encoder.width)
    for part in reversed(parts):  # each is let go when it was copied
        base.numpy()[part] = found.pop()  # what comes from other processes cannot be written to
    return base


def _encode(
    model: str, num_upper_layers: int, max_tokens: int, texts: list[str]
) -> Float32[np.ndarray, "texts width"]:
    states = TextStates(
        _encoder(model, num_upper_layers, max_tokens), texts, np.zeros(len(texts), np.int64), 0
    )
    return states.encode(range(len(texts))).numpy()


@lru_cache(1)
def _encoder(model: str, num_upper_layers: int, max_tokens: int) -> TextEncoder:
    """Kept from shard to shard; a directory's name is never used twice."""
    encoder = TextEncoder(Path(model), num_upper_layers, max_tokens)
    return encoder.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
