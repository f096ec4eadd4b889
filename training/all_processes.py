"""What the processes of a distributed training make of their batches together; one alone has all there is."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, distributed


def num_processes() -> int:
    """Processes that train together."""
    return distributed.get_world_size() if _are_many() else 1


def mean_of_all(value: float) -> float:
    """The mean over all processes, the same number in each."""
    if not _are_many():
        return value
    return float(_sum(torch.tensor([value], dtype=torch.float64))) / num_processes()


def classes_of_all(
    texts: Int[Tensor, " classes"], vectors: Float[Tensor, "classes dim"]
) -> tuple[Int[Tensor, " all"], Float[Tensor, "all dim"]]:
    """The distinct texts of all processes' batches, ascending, and their vectors, with gradients.

    With them as negatives, the loss of several small batches is that of the batch that they make up.

    Args:
        texts: Distinct texts of this process, ascending.
        vectors: One per text.
    """
    if not _are_many():
        return texts, vectors
    sizes = _gathered(torch.tensor([len(texts)], device=texts.device)).flatten().tolist()
    padded = max(sizes)
    every = _gathered(_padded(texts, padded))
    flat: Tensor = _Gather.apply(_padded(vectors, padded))  # type: ignore[no-untyped-call]
    real = torch.cat([torch.arange(size) + i * padded for i, size in enumerate(sizes)]).to(texts.device)
    distinct, place = torch.unique(every.flatten()[real], return_inverse=True)
    first = torch.full_like(distinct, len(real)).scatter_reduce(
        0, place, torch.arange(len(real), device=place.device), "amin"
    )
    return distinct, flat[real[first]]


class _Gather(torch.autograd.Function):
    """Rows of all processes, by rank; a row's gradient is the sum of what all processes make of it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:  # noqa: ANN401 (torch's)
        ctx.num_rows = len(rows)
        return _gathered(rows).flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401
        start = distributed.get_rank() * ctx.num_rows
        return _sum(gradient.contiguous())[start : start + ctx.num_rows]


def _are_many() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def _padded(rows: Tensor, length: int) -> Tensor:
    return torch.cat((rows, rows.new_zeros(length - len(rows), *rows.shape[1:])))


def _gathered(rows: Tensor) -> Tensor:
    """Equally shaped tensors of all processes, stacked."""
    every = [torch.empty_like(rows) for _ in range(num_processes())]
    distributed.all_gather(every, rows.contiguous())
    return torch.stack(every)


def _sum(values: Tensor) -> Tensor:
    total = values.clone()
    distributed.all_reduce(total)
    return total
