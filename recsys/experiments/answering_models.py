"""Which models answered an experiment's lists: where it was not an arm's own, nobody met the arm."""

from collections.abc import Mapping

import polars as pl

from recsys.experiments.bulk import ARM
from recsys.experiments.data_quality import Problem

MAX_SUBSTITUTED_SHARE = 0.01
"""Share of an arm's lists that another model may have answered; above it there is no verdict."""

_NUM_SHOWN = 3
_PARTS = frozenset({"stable", "canary"})
_ANSWERED, _BY_ANOTHER, _NUM_LISTS = "model_version", "by_another", "num_lists"


def answering_models(lists: pl.DataFrame, key: str, models: Mapping[str, str | None]) -> pl.DataFrame:
    """Count the lists of an experiment by arm and by the model that answered.

    Lists say themselves where an arm's model was not there. Of those of before they did, this is known where
    the arm names a version.

    Args:
        lists: ``arm``, ``model_version``, ``substituted``; one row per list.
        key: The experiment.
        models: What the definition names, by arm.

    Returns:
        ``arm``, ``model_version``, ``by_another`` (whether it is not the arm's), ``num_lists``.
    """
    versions = {arm: model for arm, model in models.items() if model is not None and model not in _PARTS}
    named = pl.col(ARM).replace_strict(versions, default=None, return_dtype=pl.String)
    differs = (named != pl.col(_ANSWERED)).fill_null(value=False)
    said = pl.col("substituted").list.contains(key)
    counted = lists.with_columns((said.fill_null(value=False) | differs).alias(_BY_ANOTHER))
    return counted.group_by(ARM, _ANSWERED, _BY_ANOTHER).agg(pl.len().alias(_NUM_LISTS)).sort(pl.all())


def model_problems(answered: pl.DataFrame, models: Mapping[str, str | None]) -> tuple[Problem, ...]:
    """What follows for the report.

    Args:
        answered: See ``answering_models``.
        models: What the definition names, by arm; where it names none, whatever served is meant.
    """
    compares_models = any(model is not None for model in models.values())
    problems = []
    for (arm,), part in answered.group_by(ARM, maintain_order=True):
        total, others = int(part[_NUM_LISTS].sum()), int(part.filter(_BY_ANOTHER)[_NUM_LISTS].sum())
        if others:
            problems.append(_substituted(str(arm), others, total))
        own = part.filter(~pl.col(_BY_ANOTHER)).drop_nulls(_ANSWERED)
        if compares_models and own.height > 1:
            problems.append(_several(str(arm), dict(own.select(_ANSWERED, _NUM_LISTS).iter_rows())))
    return tuple(problems)


def _substituted(arm: str, others: int, total: int) -> Problem:
    share = others / total
    blocks = share > MAX_SUBSTITUTED_SHARE
    message = (
        f"{'not decided: ' if blocks else ''}{share:.2%} of {arm}'s lists ({others:,} of {total:,}) were "
        "answered by another model than the arm names; see that its model is in the registry and loads (the "
        "server's log says why not), or whether nobody plays its part"
    )
    return Problem("substituted_model", "blocking" if blocks else "warning", message)


def _several(arm: str, lists: Mapping[str, int]) -> Problem:
    most = sorted(lists.items(), key=lambda each: -each[1])
    shown = ", ".join(f"{version} {number:,}" for version, number in most[:_NUM_SHOWN])
    shown += f" and {more} more" if (more := len(lists) - _NUM_SHOWN) > 0 else ""
    message = (
        f"{arm} was answered by several models, one after the other ({shown} lists): the effect is theirs"
    )
    return Problem("several_models", "warning", message)
