"""A bundle's own text encoder, which everybody shares: it reads what shoppers type, and new items' texts.

It is loaded when it is first needed, or when its owner says so.
"""

from collections import OrderedDict
from pathlib import Path
from threading import Lock

import numpy as np
import structlog
import torch
from jaxtyping import Float32

from recsys.config import EncoderConfig
from recsys.encoder import TextEncoder, encode_texts
from recsys.errors import ConfigError, RecsysError

_NUM_REMEMBERED = 4096
_log = structlog.get_logger(__name__)


class QueryEncoder:
    """One encoder that all threads share: one text at a time, on one thread; the latest are remembered."""

    def __init__(self, directory: Path, config: EncoderConfig) -> None:
        """Say where the encoder lies.

        Args:
            directory: A bundle's ``encoder``.
            config: The settings that it was trained with.
        """
        self._directory, self._config = directory, config
        self._encoder: TextEncoder | None = None
        self._postponed = False
        self._lock, self._loading = Lock(), Lock()
        self._remembered: OrderedDict[str, Float32[np.ndarray, " width"]] = OrderedDict()

    def postpone(self) -> None:
        """From now on ``vector`` answers ``None`` at once, until ``load`` has come to its end."""
        self._postponed = self._encoder is None

    @property
    def is_postponed(self) -> bool:
        """Whether ``vector`` waits for ``load``."""
        return self._postponed

    def load(self) -> None:
        """Have the encoder in memory, and its first text read, which costs more than the next.

        What fails is logged, and tried again when somebody asks.
        """
        try:
            with self._lock:
                self._encode("a first text costs more than the next")
            _log.info("queries are read by the text encoder")
        except (RecsysError, ImportError) as error:  # imports fail where the process is ending
            _log.warning("queries are read by their exact words only", reason=str(error))
        finally:
            self._postponed = False

    def vector(self, text: str) -> Float32[np.ndarray, " width"] | None:
        """Unit base vector of a text, to be compared with the pretrained encoder's vectors of the items.

        A bundle's encoder differs from the pretrained one in what tuning changed, which is little, and base
        vectors tell nonsense from words where the item tower does not: see docs/placements.md.

        Raises:
            ConfigError: The encoder cannot be read.
        """
        if self._postponed:
            return None
        words = " ".join(text.lower().split())
        with self._lock:
            found = self._remembered.pop(words, None)
            if found is None:
                found = self._encode(words)
                if len(self._remembered) >= _NUM_REMEMBERED:
                    self._remembered.popitem(last=False)
            self._remembered[words] = found
        return found

    def encoder(self) -> TextEncoder:
        """The encoder, cut below the layers that training may have changed; it may be used by any thread.

        Raises:
            ConfigError: It cannot be read.
        """
        with self._loading:
            if self._encoder is None:
                config = self._config
                cut = config.num_trained_layers if config.strategy == "last_n" else 0
                self._encoder = _read(self._directory, cut, config.max_tokens)
            return self._encoder

    def _encode(self, words: str) -> Float32[np.ndarray, " width"]:
        encoder = self.encoder()
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            found: Float32[np.ndarray, " width"] = encode_texts(encoder, [words])[0].numpy()
        finally:
            torch.set_num_threads(threads)
        return found


def _read(directory: Path, cut: int, max_tokens: int) -> TextEncoder:
    try:
        return TextEncoder(directory, cut, max_tokens)
    except (RecsysError, ImportError):  # imports fail where the process is ending
        raise
    except Exception as error:  # whatever its libraries make of damaged files
        raise ConfigError(f"the encoder in {directory} cannot be used: {error!r}") from error
