"""Reads texts as training does: by a bundle's tuned encoder and item tower, and by the pretrained encoder.

Both encoders have the same lower layers unless training changed them too; a text goes through these once.
"""

from collections.abc import Sequence
from pathlib import Path

import structlog
import torch
from jaxtyping import Float

from recsys.bundle import text_vectors
from recsys.config import EncoderConfig
from recsys.encoder import TextEncoder, Towers, inference_dtype, length_buckets, pad
from recsys.errors import ConfigError
from recsys.index import quantise
from recsys.live_parts import TextVectors
from recsys.pretrained import model_path
from recsys.query_encoder import QueryEncoder

_log = structlog.get_logger(__name__)


class TextReader:
    """The encoders behind a bundle's vectors, in memory."""

    def __init__(self, bundle: Path, config: EncoderConfig, encoder: QueryEncoder | None = None) -> None:
        """Load them; this takes seconds.

        Without the pretrained encoder the tuned one stands in for it: what tuning moves is little.

        Args:
            bundle: The bundle's directory, verified.
            config: The settings it was trained with.
            encoder: The bundle's encoder where somebody has it, so that it is in memory once.

        Raises:
            ConfigError: The bundle's encoder cannot be read.
        """
        self._tuned = (encoder or QueryEncoder(bundle / "encoder", config)).encoder()
        self._towers = Towers.load(bundle / "encoder" / "towers.safetensors", self._tuned.width, config)
        self._untuned = self._tuned
        if config.strategy != "frozen":
            self._untuned = self._pretrained(config, len(self._tuned.upper.layer))

    def read(self, texts: Sequence[str]) -> list[TextVectors]:
        """Vectors of texts, in order."""
        if not texts:
            return []
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # the other processors are for requests
        try:
            base, words = self._base_vectors(texts)
        finally:
            torch.set_num_threads(threads)
        tuned = quantise(text_vectors(self._towers, base))
        return [TextVectors(*both) for both in zip(tuned, quantise(words.numpy()), strict=True)]

    def _pretrained(self, config: EncoderConfig, cut: int) -> TextEncoder:
        try:
            found = TextEncoder(model_path(config.model), cut, config.max_tokens)
        except ConfigError as error:
            _log.warning("the tuned encoder stands in for the pretrained one", reason=str(error))
            return self._tuned
        ours, theirs = self._tuned.lower.state_dict(), found.lower.state_dict()
        if all(torch.equal(ours[name], theirs[name]) for name in ours):
            found.lower = self._tuned.lower
        return found

    @torch.inference_mode()
    def _base_vectors(
        self, texts: Sequence[str]
    ) -> tuple[Float[torch.Tensor, "texts width"], Float[torch.Tensor, "texts width"]]:
        """By the tuned and by the pretrained encoder, in the precision that training reads all texts in."""
        tuned, untuned, dtype = self._tuned, self._untuned, inference_dtype()
        tokens = tuned.tokenize(texts)
        found = torch.empty(2, len(tokens), tuned.width)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            for batch in length_buckets([len(ids) for ids in tokens]):
                ids, mask = pad([tokens[i] for i in batch], tuned.pad_id)
                states = tuned.lower_states(ids, mask)
                found[0, batch] = tuned.base_vectors(states.to(dtype).float(), mask).float()
                if untuned is not tuned:
                    if untuned.lower is not tuned.lower:
                        states = untuned.lower_states(ids, mask)
                    found[1, batch] = untuned.base_vectors(states.to(dtype).float(), mask).float()
        return found[0], found[1] if untuned is not tuned else found[0]
