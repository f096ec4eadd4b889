"""Fits a ranker in several processes, each on a share of the queries; each of them runs ``fit_ranker``.

Shares are files of whole queries, so that no process holds all rows of the earlier windows. The last window,
which says when to stop, is measured by every process alike, or they would disagree.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Sequence
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from recsys.config import Config
from recsys.errors import RecsysError
from recsys.lightgbm_alone import lightgbm
from recsys.ranker import Ranker
from recsys.runner import Group, Member
from training.decisions import Decisions, part_of
from training.ranker_fit import Settled, fit_ranker
from training.shared_boosting import SharedBoosting

_FEWEST_ROWS = 1_000
"""Less is learned here before processes have started elsewhere."""
_ROWS_PER_LEAF = 20
"""Rows of a share, at least, for each that a leaf must have."""
_NETWORK = re.compile(
    r"^\[(?:machines|machine_list_filename|local_listen_port|num_machines|time_out|pre_partition): .*\]\n",
    re.MULTILINE,
)


def fit_ranker_together(
    group: Group,
    train: Decisions,
    validation: Decisions,
    config: Config,
    directory: Path,
    *,
    plans: Sequence[str] = ("whole",),
    settled: Settled | None = None,
) -> tuple[Ranker, dict[str, Any]]:
    """What ``fit_ranker`` gives, but for the draws of rows; too little for all processes is fitted here.

    Args:
        group: Who fits it.
        train: As in ``fit_ranker``.
        validation: As in ``fit_ranker``.
        config: As in ``fit_ranker``.
        directory: Where the shares lie meanwhile; the processes see it under the same path.
        plans: As in ``fit_ranker``.
        settled: As in ``fit_ranker``.

    Returns:
        As ``fit_ranker``, and by ``members`` how many processes there were, and by ``resumed_trees`` how many
        trees they took over when they were last started.

    Raises:
        RecsysError: Processes were lost too often, or did not learn from every query once.
    """
    if not _are_enough(group.num_members, train, validation, config):
        return fit_ranker(train, validation, config, plans=plans, settled=settled)
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix="ranker-") as scratch:
        place = Path(scratch)
        for i in range(group.num_members):
            _save(part_of(train, i, group.num_members), place / f"train-{i}.safetensors")
        _save(validation, place / "validation.safetensors")
        task = partial(_fit_share, str(place), group.num_members, config, tuple(plans), settled)
        group.together(task, "lightgbm", place)
        outcome = _outcome(place, len(train.groups) + len(validation.groups))
        return Ranker(lightgbm.Booster(model_str=(place / "ranker.txt").read_text())), outcome


def without_network(model: str) -> str:
    """A model's text without what its parameters say of the processes that trained it."""
    return _NETWORK.sub("", model).replace("[tree_learner: data]", "[tree_learner: serial]")


def _are_enough(size: int, train: Decisions, validation: Decisions, config: Config) -> bool:
    """Whether every share is like the whole: LightGBM's settings follow from rows and grades.

    A position bias is estimated from a process's own lists alone, so there all of them must be in one.
    """
    if size < 2 or (config.ranker.position == "bias" and train.places is not None):
        return False
    best = max(train.labels.max(initial=0), validation.labels.max(initial=0))
    if not (train.labels.any() and validation.labels.any()):
        return False  # fit_ranker says what is wrong
    shares = [part_of(train, i, size).labels for i in range(size)]
    fewest = max(_FEWEST_ROWS, _ROWS_PER_LEAF * config.ranker.min_data_in_leaf)
    return all(len(labels) >= fewest and labels.max() == best for labels in shares)


def _fit_share(  # noqa: PLR0917 (bound by a partial, all but the last)
    directory: str,
    num_shares: int,
    config: Config,
    plans: tuple[str, ...],
    settled: Settled | None,
    member: Member,
) -> None:
    """One process's work."""
    place = Path(directory)
    mine = [_load(place / f"train-{i}.safetensors") for i in range(member.rank, num_shares, member.size)]
    validation = _load(place / "validation.safetensors")
    boosting = SharedBoosting(member, place)
    ranker, details = fit_ranker(
        reduce(add, mine), validation, config, plans=plans, settled=settled, boosting=boosting
    )
    boosting.close()
    unfinished = place / f"ranker-{member.rank}.txt"
    ranker.save(unfinished)
    text = without_network(unfinished.read_text())
    unfinished.write_text(text)
    if member.rank == 0:
        unfinished.replace(place / "ranker.txt")
    report = {
        "size": member.size,
        "num_queries": boosting.num_queries,
        "resumed_trees": boosting.resumed_trees,
        "digest": hashlib.sha256(text.encode()).hexdigest(),
        "details": details,
    }
    (place / f"member-{member.rank}.json").write_text(json.dumps(report))


def _outcome(place: Path, num_queries: int) -> dict[str, Any]:
    """What the processes report.

    Raises:
        RecsysError: They did not learn from every query once, or their rankers differ.
    """
    first = json.loads((place / "member-0.json").read_text())
    reports = [json.loads((place / f"member-{i}.json").read_text()) for i in range(first["size"])]
    learned = sum(report["num_queries"] for report in reports)
    if learned != num_queries:
        raise RecsysError(f"the processes learned from {learned} queries, there are {num_queries}")
    if len({report["digest"] for report in reports}) != 1:
        raise RecsysError("the processes came to different rankers")
    details: dict[str, Any] = first["details"]
    return details | {"members": first["size"], "resumed_trees": first["resumed_trees"]}


def _save(decisions: Decisions, path: Path) -> None:
    """Everything but the users, which nothing is learned from."""
    names = ("matrix", "labels", "positions", "groups", "places")
    arrays = {name: getattr(decisions, name) for name in names}
    save_file(
        {name: np.ascontiguousarray(array) for name, array in arrays.items() if array is not None}, path
    )


def _load(path: Path) -> Decisions:
    return Decisions(users=[], **load_file(path))
