"""Forests that several processes grow together, each from queries of its own; they all get the same one.

LightGBM's data-parallel learner adds up the processes' histograms, so every split is that of all rows. Every
few trees the first process leaves the forest in a directory that all of them see: after a loss they go on
from there.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import wraps
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recsys.lightgbm_alone import lightgbm
from recsys.runner import Member
from recsys.workspace import atomic_path
from training.boosting import Boosting, Callback
from training.decisions import Decisions, part_of

_PATIENCE_MINUTES = 2
"""How long a process waits for another that is silent; LightGBM's own two hours would stall all of them."""
_TREES_BETWEEN = 10
_BEFORE_OTHERS, _AFTER_OTHERS = 5, 40
"""Places among LightGBM's callbacks: it records at 20 and stops early at 30."""


class Grown(NamedTuple):
    """A forest as far as it has come."""

    model: str
    rounds: list[list[lightgbm.basic.EvalResult]]
    """What was measured after every tree."""
    best_iteration: int
    is_whole: bool
    """Whether it has ended."""


class SharedBoosting(Boosting):
    """One member's part in growing forests; all members ask for the same ones in the same order."""

    def __init__(self, member: Member, directory: Path) -> None:
        """Connect to the others.

        Args:
            member: This process.
            directory: Where forests are left, and found after a loss.
        """
        self._member, self._directory, self._calls = member, directory, count()
        self._line = _connected(member) if member.size > 1 else None
        self.num_queries = 0
        """Queries that this process gave to the latest forest."""
        self.resumed_trees = 0
        """Trees that were there already."""

    def own(self, whole: Decisions) -> Decisions:
        """See ``Boosting``."""
        return part_of(whole, self._member.rank, self._member.size)

    def grow(
        self,
        parameters: Mapping[str, Any],
        data: lightgbm.Dataset,
        num_trees: int,
        valid_sets: Sequence[lightgbm.Dataset] = (),
        callbacks: Sequence[Callback] = (),
    ) -> lightgbm.Booster:
        """See ``Boosting``; a forest that starts from an anchor begins anew after a loss."""
        path = self._directory / f"forest-{next(self._calls)}.json"
        self.num_queries = len(data.group) if data.group is not None else 0
        found = _read(path)
        if found is not None and (found.is_whole or data.init_score is None):
            self.resumed_trees += len(found.rounds)
            before = lightgbm.Booster(model_str=found.model)
            _replay(found, before, callbacks, num_trees)
            if found.is_whole:
                before.best_iteration = found.best_iteration
                return before
        else:
            found, before = Grown("", [], 0, is_whole=False), None
        return self._grow_on(path, found, before, (parameters, data, num_trees, valid_sets, callbacks))

    def _grow_on(
        self, path: Path, found: Grown, before: lightgbm.Booster | None, asked: tuple[Any, ...]
    ) -> lightgbm.Booster:
        parameters, data, num_trees, valid_sets, callbacks = asked
        rounds = list(found.rounds)

        def record(env: lightgbm.callback.CallbackEnv) -> None:
            rounds.append(list(env.evaluation_result_list or []))

        def keep(env: lightgbm.callback.CallbackEnv) -> None:
            if len(rounds) % _TREES_BETWEEN == 0:
                assert isinstance(env.model, lightgbm.Booster)
                self._leave(path, env.model, rounds, is_whole=False)

        record.order, keep.order = _BEFORE_OTHERS, _AFTER_OTHERS  # type: ignore[attr-defined]
        grown = lightgbm.train(
            {**parameters, **self._together()},
            data,
            num_trees - len(rounds),
            valid_sets=list(valid_sets),
            callbacks=[record, *(_from_the_first_round(each) for each in callbacks), keep],
            init_model=before,
        )
        self._leave(path, grown, rounds, is_whole=True)
        return grown

    def _together(self) -> dict[str, Any]:
        threads = {"num_threads": self._member.num_threads}
        if self._member.size == 1:
            return threads
        return threads | {
            "tree_learner": "data",
            "pre_partition": True,
            "num_machines": self._member.size,
        }

    def _leave(
        self,
        path: Path,
        booster: lightgbm.Booster,
        rounds: list[list[lightgbm.basic.EvalResult]],
        *,
        is_whole: bool,
    ) -> None:
        if self._member.rank == 0:
            model = booster.model_to_string(num_iteration=-1)
            grown = Grown(model, rounds, max(booster.best_iteration, 0), is_whole)
            with atomic_path(path) as unfinished:
                unfinished.write_text(json.dumps(grown._asdict()))

    def close(self) -> None:
        """Let the others go."""
        if self._line is not None:
            self._line.free_network()


def _connected(member: Member) -> lightgbm.Booster:
    """A booster that holds the connections of this thread; those that are trained meanwhile use them.

    Once for all of them: ports cannot be bound again so soon. Trained boosters know no addresses this way.
    """
    quiet = {"verbosity": -1, "min_data_in_leaf": 1, "min_data_in_bin": 1}
    line = lightgbm.Booster(quiet, lightgbm.Dataset(np.eye(2), np.arange(2.0), params=quiet))
    return line.set_network(
        str(member.network["machines"]),
        local_listen_port=int(member.network["local_listen_port"]),
        listen_time_out=_PATIENCE_MINUTES,
        num_machines=member.size,
    )


def _read(path: Path) -> Grown | None:
    """A forest that was left, if there is one."""
    if not path.exists():
        return None
    found = json.loads(path.read_bytes())
    found["rounds"] = [
        [lightgbm.basic.EvalResult(*values) for values in measured] for measured in found["rounds"]
    ]
    return Grown(**found)


def _replay(found: Grown, booster: lightgbm.Booster, callbacks: Sequence[Callback], num_trees: int) -> None:
    """Show the callbacks the rounds that they have missed."""
    in_order = sorted(callbacks, key=lambda callback: getattr(callback, "order", 0))
    try:
        for i, measured in enumerate(found.rounds):
            for callback in in_order:
                callback(lightgbm.callback.CallbackEnv(booster, {}, i, 0, num_trees, measured))
    except lightgbm.callback.EarlyStopException:
        return


def _from_the_first_round(callback: Callback) -> Callback:
    """The same callback; LightGBM's begin afresh with the first round that a call of it trains."""

    @wraps(callback)
    def called(env: lightgbm.callback.CallbackEnv) -> None:
        callback(replace(env, begin_iteration=0))

    return called
