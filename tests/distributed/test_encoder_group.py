"""An encoder that two nodes train together, one of which is lost on the way."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from time import sleep

import psutil
import pytest
from ray.cluster_utils import Cluster

from recsys.config import EncoderConfig
from recsys.ray_runner import RayRunner
from tests.recsys.small_catalogue import NOW, events_frame, greengrocer, greengrocer_encoder, shopping
from tests.recsys.small_catalogue import small_config as small
from training.encoder_fit import FittedEncoder, fit_encoder

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")
CATALOGUE = greengrocer()
_STEPS_BETWEEN = 20


def fit(encoder: Path, directory: Path, runner: RayRunner | None) -> FittedEncoder:
    config = small(encoder)
    given = {
        "num_head_steps": 160,
        "num_tuning_steps": 40,
        "validate_every": _STEPS_BETWEEN,
        "batch_size": 48,
        "patience": 100,
        "dropout": 0.0,
    }
    settings = EncoderConfig.model_validate(config.encoder.model_dump() | given)
    events = events_frame(shopping(CATALOGUE))
    return fit_encoder(
        CATALOGUE,
        events,
        NOW,
        config.model_copy(update={"encoder": settings}),
        directory / "logs",
        directory / "checkpoint",
        runner,
    )


def workers() -> Iterator[psutil.Process]:
    """Processes that train, among those that this one started."""
    for process in psutil.Process().children(recursive=True):
        if "RayTrainWorker" in "".join(process.cmdline()):
            yield process


def kill_one_after(checkpoint: Path) -> None:
    while not checkpoint.exists():
        sleep(0.05)
    os.kill(next(workers()).pid, signal.SIGKILL)


def test_two_nodes_train_the_encoder_and_go_on_from_its_checkpoint_when_one_is_lost(
    cluster: Cluster, tmp_path: Path
) -> None:
    encoder = greengrocer_encoder(tmp_path / "encoder")
    here = fit(encoder, tmp_path / "here", None)
    there = tmp_path / "there"
    Thread(target=kill_one_after, args=(there / "checkpoint" / "encoder.safetensors",), daemon=True).start()
    found = fit(encoder, there, RayRunner())
    assert found.processes["members"] == len(cluster.worker_nodes) == 2
    assert found.processes["resumed_step"] >= _STEPS_BETWEEN
    steps, losses = zip(*found.curve, strict=True)
    assert steps == tuple(range(_STEPS_BETWEEN, steps[-1] + 1, _STEPS_BETWEEN))
    place = steps.index(found.processes["resumed_step"])
    assert losses[place + 1] == pytest.approx(losses[place], abs=0.15)
    assert min(losses) == pytest.approx(min(loss for _, loss in here.curve), abs=0.1)
    assert not (there / "checkpoint").exists()
