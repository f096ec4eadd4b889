"""Every distinct text of the catalogue, as far as training has come with it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from recsys.encoder import TextEncoder
from recsys.progress import progress
from training.examples import Examples
from training.text_states import TextStates
from training.vector_room import room


@dataclass
class TextTable:
    """What the encoder's training knows of each text."""

    states: TextStates
    """What the trained layers read."""
    base: Float[Tensor, "texts width"]
    """Base vectors as of the last refresh."""
    frozen_base: Float[Tensor, "texts width"]
    """Base vectors before training."""
    log_frequency: Float[Tensor, " texts"]
    """Logarithm of each text's share of the positives."""
    used: Int[Tensor, " used"]
    """Texts that somebody took next: the classes of the validation loss."""
    read: Int[Tensor, " read"]
    """Texts that the examples mention in any way: those whose base vectors are refreshed."""

    def to(self, device: torch.device) -> None:
        """Move everything but the states, which stay in main memory."""
        for name in ("base", "frozen_base", "log_frequency", "used", "read"):
            setattr(self, name, getattr(self, name).to(device))


EncodeAll = Callable[[TextEncoder, TextStates, str], Float[Tensor, "texts width"]]
"""Takes the encoder, its texts, and what the progress bar says."""


def read_texts(
    encoder: TextEncoder,
    texts: Sequence[str],
    train: Examples,
    validation: Examples,
    budget: int,
    *,
    encode: EncodeAll | None = None,
) -> TextTable:
    """Encode the catalogue's texts and count how often each is taken.

    Args:
        encoder: The text encoder.
        texts: Distinct texts.
        train: Examples to train on.
        validation: Examples to validate on.
        budget: Most bytes of states to keep.
        encode: How the texts are read; ``encode_all`` when absent.
    """
    counts = torch.from_numpy(
        train.next_items.text_counts(len(texts)) + validation.next_items.text_counts(len(texts))
    )
    read = np.union1d(train.texts(), validation.texts())
    needed = counts.numpy() + np.isin(np.arange(len(texts)), read)
    states = TextStates(encoder, texts, needed, budget)
    base = (encode or encode_all)(encoder, states, "reading texts")
    return TextTable(
        states=states,
        base=room(*base.shape).copy_(base),
        frozen_base=base,
        log_frequency=(counts.clamp(min=1) / counts.sum()).log().float(),
        used=counts.nonzero().squeeze(1),
        read=torch.from_numpy(read),
    )


def encode_all(encoder: TextEncoder, states: TextStates, label: str) -> Float[Tensor, "texts width"]:
    """Base vectors of all texts through the layers as they are now, on a GPU where there is one."""
    encoder.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    with progress(label, len(states)) as advance:
        base = states.encode(range(len(states)), advance)
    encoder.cpu()
    return base
