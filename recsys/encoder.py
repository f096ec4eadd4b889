"""The text encoder and its two towers, as plain modules: no training code, no data loading.

The **item tower** reads an item's text with a pretrained transformer, mean-pools it to a *base vector*, and
maps that to the item vector by a projection plus a residual. The projection starts as the principal axes of
the base vectors and the residual at zero, so that an untrained tower ranks as the pretrained encoder does,
and training moves away from it only where that pays. The **user tower** is attention over the vectors of the
recent items.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int32
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from recsys.config import EncoderConfig
from recsys.errors import BundleError, ConfigError
from recsys.pretrained import empty_stack, load_pretrained, longest_input, stack_name
from recsys.schema import EVENT_TYPES

NUM_AGE_BUCKETS = 16
NUM_STEPS = 16
"""Steps that the user tower tells apart; those further back are one."""
_ENCODE_BATCH = 64
_BATCH_TOKENS = 4096
_TOKENIZE_BATCH = 4096


class TextEncoder(nn.Module):
    """A pretrained transformer, cut into lower layers, which stay as they are, and upper layers.

    The upper layers are a stack of the transformer's own class, so that what a family does beside its layers,
    such as MPNet's relative positions, is done in both parts. That the cut changes nothing is checked here.
    """

    def __init__(self, path: Path, num_upper_layers: int, max_tokens: int) -> None:
        """Read the transformer in ``path`` and cut it ``num_upper_layers`` below its top.

        Raises:
            ConfigError: The directory holds no encoder that can be cut.
        """
        super().__init__()
        self.tokenizer, self.lower = load_pretrained(path)
        self._tokenizing = Lock()  # a tokenizer is set anew for every call, and refuses two at once
        self._stack_name = stack_name(self.lower, path)
        stack = getattr(self.lower, self._stack_name)
        self.width: int = self.lower.config.hidden_size
        self.max_tokens = min(max_tokens, longest_input(self.lower))
        self.pad_id: int = self.tokenizer.pad_token_id or 0
        self.upper: Any = empty_stack(self.lower, self._stack_name)
        before = self._probe()
        cut = max(len(stack.layer) - num_upper_layers, 0)
        self.upper.layer = nn.ModuleList(stack.layer[cut:])
        stack.layer = nn.ModuleList(stack.layer[:cut])
        if not torch.allclose(before, self._probe(), atol=1e-4):
            raise ConfigError(
                f"{path} holds a {type(self.lower).__name__}, which cannot be cut between its layers; "
                "take a BERT, RoBERTa, MPNet or DistilBERT"
            )
        self.requires_grad_(requires_grad=False)
        self.upper.layer.requires_grad_(requires_grad=True)
        self.eval()

    @torch.no_grad()
    def _probe(self) -> Float[Tensor, "two width"]:
        ids, mask = pad(self.tokenize(["one text", "and another text"]), self.pad_id)
        return self.forward(ids, mask)

    def tokenize(self, texts: Sequence[str]) -> list[Int32[np.ndarray, " _"]]:
        """Token ids per text, at most ``max_tokens``."""
        found: list[Int32[np.ndarray, " _"]] = []
        for start in range(0, len(texts), _TOKENIZE_BATCH):
            chunk = list(texts[start : start + _TOKENIZE_BATCH])
            with self._tokenizing:
                ids = self.tokenizer(chunk, truncation=True, max_length=self.max_tokens)["input_ids"]
            found += [np.asarray(row, np.int32) for row in ids]
        return found

    def __getstate__(self) -> dict[str, Any]:
        """All but the lock, which belongs to this process."""
        return {name: value for name, value in self.__dict__.items() if name != "_tokenizing"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._tokenizing = Lock()

    def lower_states(
        self, input_ids: Int[Tensor, "batch tokens"], mask: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch tokens width"]:
        """Hidden states after the lower layers."""
        states: Tensor = self.lower(input_ids=input_ids, attention_mask=mask.long()).last_hidden_state
        return states

    def base_vectors(
        self, states: Float[Tensor, "batch tokens width"], mask: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch width"]:
        """Unit base vectors from the lower layers' states: upper layers, then the mean over tokens."""
        from transformers.masking_utils import create_bidirectional_mask

        allowed = create_bidirectional_mask(self.lower.config, states, mask.long())
        states = self.upper(states, allowed)[0]
        weights = mask.to(states.dtype).unsqueeze(-1)
        pooled = (states * weights).sum(1) / weights.sum(1)
        return functional.normalize(pooled, dim=-1)

    def forward(
        self, input_ids: Int[Tensor, "batch tokens"], mask: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch width"]:
        """Unit base vectors of token ids, through all layers."""
        return self.base_vectors(self.lower_states(input_ids, mask), mask)

    def save(self, directory: Path) -> None:
        """Write the whole transformer and its tokenizer in Hugging Face's own layout."""
        stack = getattr(self.lower, self._stack_name)
        frozen = stack.layer
        stack.layer = nn.ModuleList([*frozen, *self.upper.layer])
        try:
            self.lower.save_pretrained(directory)
        finally:
            stack.layer = frozen
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
    """Attention over the recent items' vectors with event type, age, step and count; a unit interest vector.

    Each head scores every item by its content, its event type, its age, its step and its count, and takes the
    weighted mean; the heads' means are mixed and a shared vector, the taste of nobody in particular, is
    added. An item's step is the number of later times at which the user did something: it tells the order
    where times are too close, or too coarse, for ages to tell it.
    """

    def __init__(self, dimension: int, num_heads: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        self.content = nn.Linear(dimension, num_heads)
        self.event_type = nn.Embedding(len(EVENT_TYPES), num_heads)
        self.age = nn.Embedding(NUM_AGE_BUCKETS, num_heads)
        self.step = nn.Embedding(NUM_STEPS, num_heads)
        self.count = nn.Parameter(torch.zeros(num_heads))
        self.mix = nn.Linear(num_heads * dimension, dimension)
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            nn.init.zeros_(self.event_type.weight)
            sharpness = torch.arange(1, num_heads + 1) / num_heads
            self.age.weight.copy_(-torch.linspace(0, 3, NUM_AGE_BUCKETS)[:, None] * sharpness)
            self.step.weight.copy_(-torch.linspace(0, 3, NUM_STEPS)[:, None] * sharpness)
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
        logits = logits + self.step(_steps(age_days.masked_fill(~mask, torch.inf)))
        logits = logits + counts.log1p().unsqueeze(-1) * self.count
        logits = logits.masked_fill(~mask.unsqueeze(-1), -1e4)
        weights = logits.softmax(1) * mask.unsqueeze(-1)
        means = torch.einsum("bnh,bnd->bhd", weights, self.dropout(vectors))
        return functional.normalize(self.mix(means.flatten(1)), dim=-1)


def _steps(age_days: Float[Tensor, "batch recent"]) -> Int[Tensor, "batch recent"]:
    """Number of distinct smaller ages, up to the last step that is told apart."""
    ages, order = age_days.sort(dim=1)
    later = functional.pad((ages.diff(dim=1) > 0).long(), (1, 0)).cumsum(1)
    return torch.zeros_like(later).scatter(1, order, later).clamp(max=NUM_STEPS - 1)


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
        weights = load_file(path)
        if "item.projection.weight" in weights and weights["item.projection.weight"].shape[1] != width:
            problem = f"the encoder has {width} numbers per text"
            raise BundleError(f"{path.name} does not fit the configured towers: {problem}")
        towers = cls(width, config)
        try:
            towers.load_state_dict(weights)
        except RuntimeError as error:
            raise BundleError(f"{path.name} does not fit the configured towers: {error}") from error
        return towers.eval()


def pad(
    token_ids: Sequence[Int32[np.ndarray, " _"]], pad_id: int = 0
) -> tuple[Int[Tensor, "batch tokens"], Bool[Tensor, "batch tokens"]]:
    """Stack token ids of unequal length; the mask is False on padding."""
    lengths = np.asarray([len(ids) for ids in token_ids])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(mask.shape, pad_id, np.int64)
    ids[mask] = np.concatenate(token_ids)
    return torch.from_numpy(ids), torch.from_numpy(mask)


def length_buckets(lengths: Sequence[int], batch_size: int = _ENCODE_BATCH) -> Iterator[list[int]]:
    """Batches of positions with similar lengths, longest first, so that little is computed on padding.

    A batch of long texts is smaller: it has at most ``_BATCH_TOKENS`` tokens, unless one text alone has more.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    start = 0
    while start < len(order):
        longest = max(lengths[order[start]], 1)
        size = min(batch_size, max(_BATCH_TOKENS // longest, 1))
        yield order[start : start + size].tolist()
        start += size


def inference_dtype() -> torch.dtype:
    """bfloat16 where the processor computes in it, float32 elsewhere."""
    fast = torch.cuda.is_available() or torch.cpu.get_capabilities().get("avx512_bf16", False)
    return torch.bfloat16 if fast else torch.float32


@torch.inference_mode()
def encode_texts(
    encoder: TextEncoder, texts: Sequence[str], advance: Callable[[int], None] = lambda _: None
) -> Float[Tensor, "texts width"]:
    """Base vectors of texts, through all layers in ``inference_dtype``, on the CPU.

    Args:
        encoder: The text encoder.
        texts: Any strings.
        advance: Called with the number of texts just finished.
    """
    tokens = encoder.tokenize(texts)
    device, dtype = next(encoder.parameters()).device, inference_dtype()
    base = torch.empty(len(tokens), encoder.width)
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        for batch in length_buckets([len(ids) for ids in tokens]):
            ids, mask = (tensor.to(device) for tensor in pad([tokens[i] for i in batch], encoder.pad_id))
            base[batch] = encoder(ids, mask).float().cpu()
            advance(len(batch))
    return base
