"""The catalogue's texts as far as the frozen layers carry them, kept in memory within a budget.

Training the upper layers reads the same texts over and over; what the layers below make of a text never
changes, so it is kept. Long texts make many states: those of 100,000 texts of 128 tokens would fill 10 GB at
384 dimensions. So the texts that occur most are kept, as many as the budget allows, and the lower layers read
the others again whenever they come up.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from recsys.encoder import TextEncoder, inference_dtype, length_buckets, pad
from training.vector_room import room

_PART = 32
"""Texts that go through the trained layers at once."""


class TextStates:
    """States of texts after the lower layers, from memory or computed again."""

    def __init__(
        self, encoder: TextEncoder, texts: Sequence[str], priority: Int64[np.ndarray, " texts"], budget: int
    ) -> None:
        """Tokenise the texts and choose which states will be kept; ``encode`` fills them in.

        Args:
            encoder: The text encoder. Nothing may change its lower layers while states are kept.
            texts: Distinct texts.
            priority: How often each text is needed; the states of those needed most are kept.
            budget: Most bytes to keep; 0 keeps none.
        """
        self._encoder = encoder
        self._tokens = encoder.tokenize(texts)
        self._lengths = np.asarray([len(ids) for ids in self._tokens], np.int64)
        self._dtype = inference_dtype()
        wanted = np.argsort(-priority, kind="stable")
        size = encoder.width * self._dtype.itemsize
        fits = wanted[np.cumsum(self._lengths[wanted]) * size <= budget]
        self._kept: dict[int, Tensor] = {}
        self._keep = np.zeros(len(self._tokens), bool)
        self._keep[fits] = True

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def num_bytes(self) -> int:
        """Bytes of the states that will be kept."""
        return int(self._lengths[self._keep].sum()) * self._encoder.width * self._dtype.itemsize

    def of(
        self, texts: Sequence[int]
    ) -> tuple[Float[Tensor, "batch tokens width"], Bool[Tensor, "batch tokens"]]:
        """States of a batch in float32 and their mask, on the encoder's device.

        Gradients flow into the lower layers where these are trained and nothing is kept.
        """
        device = next(self._encoder.parameters()).device
        absent = [text for text in texts if text not in self._kept]
        if len(absent) == len(texts):
            return self._read(texts)
        again = dict(zip(absent, self._read(absent)[0].detach().cpu(), strict=True)) if absent else {}
        lengths = self._lengths[list(texts)]
        rows = [
            (again[text] if text in again else self._kept[text])[:length].float()
            for text, length in zip(texts, lengths.tolist(), strict=True)
        ]
        stacked = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        mask = torch.arange(stacked.shape[1]) < torch.from_numpy(lengths)[:, None]
        return stacked.to(device), mask.to(device)

    def vectors(self, texts: Sequence[int]) -> Float[Tensor, "texts width"]:
        """Base vectors of a batch, with gradients; in parts of similar length, so that little is padding."""
        parts = list(length_buckets(self._lengths[list(texts)].tolist(), _PART))
        found = [self._encoder.base_vectors(*self.of([texts[i] for i in part])) for part in parts]
        order = torch.tensor([i for part in parts for i in part])
        return torch.cat(found)[order.argsort()]

    @torch.no_grad()
    def encode(
        self, texts: Sequence[int], advance: Callable[[int], None] = lambda _: None
    ) -> Float[Tensor, "texts width"]:
        """Base vectors of texts through the layers as they are now, in ``inference_dtype``, on the CPU.

        Args:
            texts: Positions in the texts given at the start.
            advance: Called with the number of texts just finished.
        """
        base = room(len(texts), self._encoder.width)
        with inference_precision(self._encoder):
            for batch in length_buckets(self._lengths[list(texts)].tolist()):
                chosen = [texts[i] for i in batch]
                states, mask = self.of(chosen)
                rounded = states.to(self._dtype)
                base[batch] = self._encoder.base_vectors(rounded.float(), mask).float().cpu()
                self._remember(chosen, rounded)
                advance(len(batch))
        return base

    def _remember(self, texts: Sequence[int], states: Float[Tensor, "batch tokens width"]) -> None:
        for text, row in zip(texts, states, strict=True):
            if self._keep[text] and text not in self._kept:
                self._kept[text] = row[: self._lengths[text]].to("cpu", copy=True)

    def _read(
        self, texts: Sequence[int]
    ) -> tuple[Float[Tensor, "batch tokens width"], Bool[Tensor, "batch tokens"]]:
        device = next(self._encoder.parameters()).device
        ids, mask = pad([self._tokens[text] for text in texts], self._encoder.pad_id)
        mask = mask.to(device)
        return self._encoder.lower_states(ids.to(device), mask), mask


@contextmanager
def inference_precision(encoder: TextEncoder) -> Iterator[None]:
    """Compute in ``inference_dtype`` inside."""
    device, dtype = next(encoder.parameters()).device, inference_dtype()
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        yield
