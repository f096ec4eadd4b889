"""Checkpoints of a running fit as one safetensors file, so that a killed run can be taken up again.

Lightning decides what belongs into a checkpoint and puts it back; here it is written without a pickle:
tensors as they are, everything else as JSON in the file's header, with a fingerprint of data and settings.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import structlog
import torch
from lightning_fabric.plugins import CheckpointIO
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

_FILE = "encoder.safetensors"
_STATE, _FINGERPRINT = "state", "fingerprint"
_log = structlog.get_logger()


class SafetensorsIO(CheckpointIO):
    """Writes and reads Lightning's checkpoints; a file appears whole or not at all."""

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | os.PathLike[str],
        storage_options: object = None,  # noqa: ARG002 (Lightning's signature)
    ) -> None:
        """Write a checkpoint."""
        target, tensors = Path(path), dict[str, Tensor]()
        state = json.dumps(_without_tensors(checkpoint, "", tensors))
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f"{target.name}.{os.getpid()}")
        save_file(tensors, unfinished, {_STATE: state, _FINGERPRINT: self._fingerprint})
        unfinished.replace(target)

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: object = None,  # noqa: ARG002
        weights_only: bool | None = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Read a checkpoint; its tensors are on the CPU."""
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            state = json.loads(file.metadata()[_STATE])
        return {key: _with_tensors(value, tensors) for key, value in state["items"]}

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Delete a checkpoint, and its directory when nothing else is in it."""
        Path(path).unlink(missing_ok=True)
        if Path(path).parent.is_dir() and not any(Path(path).parent.iterdir()):
            Path(path).parent.rmdir()


class Checkpoints(lightning.Callback):
    """Saves a checkpoint after every validation, with the state of the random numbers."""

    def __init__(self, directory: Path, fingerprint: str) -> None:
        """Save to ``directory``; checkpoints with another fingerprint are not read."""
        self.path = directory / _FILE
        self.io = SafetensorsIO(fingerprint)
        self._fingerprint = fingerprint
        self._random: dict[str, list[Tensor]] = {}

    def found(self) -> Path | None:
        """The checkpoint to go on from, if there is one of the same data and settings."""
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                found = file.metadata()[_FINGERPRINT]
        except (SafetensorError, OSError, TypeError, KeyError) as error:
            _log.warning("checkpoint cannot be read and is ignored", path=str(self.path), reason=str(error))
            return None
        if found != self._fingerprint:
            _log.warning("checkpoint of other data or settings is ignored", path=str(self.path))
            return None
        _log.info("going on from a checkpoint", path=str(self.path))
        return self.path

    def remove(self) -> None:
        """Delete the checkpoint: the run has ended."""
        self.io.remove_checkpoint(self.path)

    def on_validation_end(self, trainer: lightning.Trainer, *_: object) -> None:
        """Save; this callback comes after the one that stops early, whose state is saved too."""
        trainer.save_checkpoint(self.path, weights_only=False)

    def on_train_batch_start(self, *_: object, **__: object) -> None:
        """Put the random numbers back after a resumption."""
        if self._random:
            torch.set_rng_state(self._random["cpu"][0])
            torch.cuda.set_rng_state_all(self._random["cuda"])
            self._random = {}

    def state_dict(self) -> dict[str, Any]:
        """State of the random numbers, per device."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {"cpu": [torch.get_rng_state()], "cuda": cuda}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep it until the first step."""
        self._random = dict(state_dict)


def _without_tensors(value: object, name: str, tensors: dict[str, Tensor]) -> object:
    """The same in JSON's types; tensors are moved to ``tensors`` and named by their place."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().contiguous()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {
            "items": [[key, _without_tensors(each, f"{name}/{key}", tensors)] for key, each in value.items()]
        }
    if isinstance(value, (list, tuple)):
        return [_without_tensors(each, f"{name}/{i}", tensors) for i, each in enumerate(value)]
    return value


def _with_tensors(value: object, tensors: Mapping[str, Tensor]) -> object:
    """The inverse of ``_without_tensors``; tuples have become lists."""
    if isinstance(value, dict):
        if "tensor" in value:
            return tensors[value["tensor"]]
        return {key: _with_tensors(each, tensors) for key, each in value["items"]}
    if isinstance(value, list):
        return [_with_tensors(each, tensors) for each in value]
    return value
