"""Trains the encoder in several processes, each on its share of every batch; each runs ``run_training``."""

import hashlib
import json
import tempfile
from functools import partial
from pathlib import Path

import pytorch_lightning as lightning
from safetensors.torch import load_file, save_file

from recsys.config import Config
from recsys.errors import RecsysError
from recsys.runner import Group, Member
from training.checkpoint import Checkpoints
from training.encoder_module import EncoderModule
from training.encoder_trainer import run_training
from training.examples import Examples

_WEIGHTS = "weights.safetensors"


def train_together(
    group: Group,
    module: EncoderModule,
    train: Examples,
    validation: Examples,
    *,
    config: Config,
    log_dir: Path,
    checkpoints: Checkpoints,
) -> dict[str, int]:
    """What ``run_training`` does with this process's module, on all processes of a group.

    A lost process's group goes on from the last checkpoint, which is a file that all of them see.

    Returns:
        By ``members`` how many processes there were, by ``resumed_step`` the step from which they went on
        when they were last started.

    Raises:
        RecsysError: Processes were lost too often, or they came to different weights.
    """
    log_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=log_dir, prefix="encoder-") as scratch:
        place = Path(scratch)
        given = module, train, validation, config, log_dir.absolute(), checkpoints
        group.together(partial(_train_share, str(place), *given), "torch", place)
        first = json.loads((place / "member-0.json").read_text())
        digests = {
            json.loads((place / f"member-{i}.json").read_text())["digest"] for i in range(first["size"])
        }
        if len(digests) != 1:
            raise RecsysError("the processes came to different weights")
        module.load_state_dict(load_file(place / _WEIGHTS), strict=False)
    module.set_extra_state({"curve": first["curve"]})
    module.cpu().eval()
    return {"members": first["size"], "resumed_step": first["resumed_step"]}


def _train_share(  # noqa: PLR0917 (bound by a partial, all but the last)
    directory: str,
    module: EncoderModule,
    train: Examples,
    validation: Examples,
    config: Config,
    log_dir: Path,
    checkpoints: Checkpoints,
    member: Member,
) -> None:
    """One process's work."""
    place = Path(directory)
    lightning.seed_everything(config.seed + member.rank, verbose=False)
    run_training(
        module, train, validation, config=config, log_dir=log_dir, checkpoints=checkpoints, in_group=True
    )
    weights = {name: weight.contiguous() for name, weight in module.trained_weights().items()}
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(weights[name].numpy().tobytes())
    if member.rank == 0:
        save_file(weights, place / _WEIGHTS)
    report = {
        "size": member.size,
        "digest": digest.hexdigest(),
        "curve": module.curve,
        "resumed_step": module.resumed_step,
    }
    (place / f"member-{member.rank}.json").write_text(json.dumps(report))
