"""How LightGBM grows a forest: here alone; ``training.shared_boosting`` grows one in several processes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from recsys.lightgbm_alone import lightgbm
from training.decisions import Decisions

Callback = Callable[..., None]


class Boosting:
    """All of the data, in this process."""

    def own(self, whole: Decisions) -> Decisions:
        """Those decisions of all that this process learns from."""
        return whole

    def grow(
        self,
        parameters: Mapping[str, Any],
        data: lightgbm.Dataset,
        num_trees: int,
        valid_sets: Sequence[lightgbm.Dataset] = (),
        callbacks: Sequence[Callback] = (),
    ) -> lightgbm.Booster:
        """A forest; every process that takes part in growing it gets the same one.

        Args:
            parameters: LightGBM's.
            data: What this process learns from.
            num_trees: Most trees.
            valid_sets: What is measured after every tree; the same in every process.
            callbacks: LightGBM's; they see all rounds, those before a resumption too.
        """
        return lightgbm.train(
            dict(parameters), data, num_trees, valid_sets=list(valid_sets), callbacks=list(callbacks)
        )


ALONE = Boosting()
