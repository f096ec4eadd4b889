"""Two processes with half a batch each learn what one learns from all of it."""

import os
import socket
from pathlib import Path

import torch
from torch import Tensor, distributed
from torch.multiprocessing.spawn import spawn

from training.all_processes import classes_of_all, mean_of_all
from training.losses import sampled_softmax

USERS = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
VECTORS = torch.randn(9, 4, generator=torch.Generator().manual_seed(2))
TEXTS = torch.tensor([5, 2, 8, 5, 0, 5])
"""The text that each user took; three took the same one."""


def loss_of(pairs: slice, weights: Tensor) -> Tensor:
    own = torch.unique(TEXTS[pairs])
    classes, vectors = classes_of_all(own, VECTORS[own] @ weights)
    target = torch.searchsorted(classes, TEXTS[pairs])
    logits = USERS[pairs] @ weights @ vectors.T
    return sampled_softmax(
        logits, target, torch.zeros(len(classes)), torch.zeros_like(logits, dtype=torch.bool)
    )


def learn(rank: int, port: int, directory: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    distributed.init_process_group("gloo", rank=rank, world_size=2)
    weights = torch.eye(4, requires_grad=True)
    loss = loss_of(slice(3 * rank, 3 * rank + 3), weights)
    loss.backward()  # type: ignore[no-untyped-call]
    assert weights.grad is not None
    distributed.all_reduce(weights.grad)
    mean = mean_of_all(loss.item())
    torch.save({"gradient": weights.grad / 2, "loss": mean}, Path(directory) / str(rank))
    distributed.destroy_process_group()


def test_two_halves_of_a_batch_have_its_loss_and_its_gradient(tmp_path: Path) -> None:
    weights = torch.eye(4, requires_grad=True)
    loss = loss_of(slice(0, 6), weights)
    loss.backward()  # type: ignore[no-untyped-call]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    spawn(learn, (port, str(tmp_path)), nprocs=2)  # type: ignore[no-untyped-call]
    halves = [torch.load(tmp_path / str(rank), weights_only=True) for rank in range(2)]
    assert weights.grad is not None
    for half in halves:
        assert abs(half["loss"] - loss.item()) < 1e-6
        torch.testing.assert_close(half["gradient"], weights.grad, atol=1e-6, rtol=0)
    assert torch.equal(halves[0]["gradient"], halves[1]["gradient"])
