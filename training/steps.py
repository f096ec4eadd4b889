"""The batch of every training step, fixed beforehand, so that a run can be taken up again at any of them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler, Sampler

from training.examples import Examples
from training.impressions import ShownBatch, ShownLists, collate_shown
from training.next_items import NextItemBatch, NextItems, collate


class TrainingBatch(NamedTuple):
    """What one step reads; a part that there is nothing of is ``None``."""

    next_items: NextItemBatch | None
    shown: ShownBatch | None


class Steps(Dataset[TrainingBatch]):
    """One batch per step, its examples drawn with replacement."""

    def __init__(
        self, examples: Examples, num_steps: int, moments: int, lists: int, generator: torch.Generator
    ) -> None:
        """Draw the examples of all steps.

        Args:
            examples: What to draw from.
            num_steps: Steps of the run.
            moments: Moments of ``next_items`` per step.
            lists: Lists of ``shown`` per step.
            generator: Where the draws come from.
        """
        self._examples = examples
        self._moments = _drawn(examples.next_items, num_steps, moments, generator)
        self._lists = None if examples.shown is None else _drawn(examples.shown, num_steps, lists, generator)

    def __len__(self) -> int:
        return len(self._moments)

    def __getitem__(self, step: int) -> TrainingBatch:
        """The batch of a step, 0-based."""
        next_items, shown = self._examples
        chosen = collate([next_items[i] for i in self._moments[step].tolist()])
        if shown is None or self._lists is None:
            return TrainingBatch(chosen, None)
        return TrainingBatch(chosen, collate_shown([shown[i] for i in self._lists[step].tolist()]))


class HeldOut(Dataset[TrainingBatch]):
    """The examples that training is validated on, in batches."""

    def __init__(
        self, examples: Examples, moments: list[int], lists: list[int], num_moments: int, num_lists: int
    ) -> None:
        """Divide chosen examples into batches of ``num_moments`` moments and ``num_lists`` lists."""
        self._examples = examples
        self._moments = [moments[i : i + num_moments] for i in range(0, len(moments), num_moments)]
        self._lists = [lists[i : i + num_lists] for i in range(0, len(lists), num_lists)]

    def __len__(self) -> int:
        return max(len(self._moments), len(self._lists))

    def __getitem__(self, index: int) -> TrainingBatch:
        """One batch; towards the end it may hold one kind of example only."""
        next_items, shown = self._examples
        moments = self._moments[index] if index < len(self._moments) else []
        lists = self._lists[index] if index < len(self._lists) else []
        return TrainingBatch(
            collate([next_items[i] for i in moments]) if moments else None,
            collate_shown([shown[i] for i in lists]) if shown is not None and lists else None,
        )


class _FromStep(Sampler[int]):
    """Steps in order, from a given one on; the length is that of the whole run."""

    def __init__(self, total: int) -> None:
        self.start = 0
        self._total = total

    def __len__(self) -> int:
        return self._total

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self._total))


class StepLoader(DataLoader[TrainingBatch]):
    """Loads one batch per step, and after a resumption those that are left."""

    def __init__(self, steps: Steps) -> None:
        self._from = _FromStep(len(steps))
        self._served = 0
        super().__init__(steps, batch_size=None, sampler=self._from)

    def __iter__(self) -> Iterator[TrainingBatch]:  # type: ignore[override]  # the base names a class of its own
        """Batches from the next step on."""
        for step, batch in enumerate(super().__iter__(), start=self._from.start + 1):
            self._served = step
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """How many batches were handed out."""
        return {"served": self._served}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Begin after those."""
        self._from.start = self._served = int(state["served"])


def _drawn(
    source: NextItems | ShownLists, num_steps: int, size: int, generator: torch.Generator
) -> Int[Tensor, "steps examples"]:
    sampler = RandomSampler(source, replacement=True, num_samples=num_steps * size, generator=generator)
    return torch.tensor(list(sampler)).reshape(num_steps, size)
