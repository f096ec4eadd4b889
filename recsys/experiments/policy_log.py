"""Reads a log of rewards and propensities from a file and checks it; everything wrong is named here.

One row per decision, or, with ``slate_id`` and ``position``, one per slot of a list:

================================ ====== ==================================================================
column                           need   meaning
================================ ====== ==================================================================
reward                           yes    finite
logging_propensity               yes    in (0, 1]: of what was served; in a list given the items above
target_propensity                yes    in [0, 1]: the same of the policy to be evaluated
q_logged, q_target               both   a reward model's value of what was served, and of what the target
                                 or none policy would serve, in a list given the items above
action, target_actions,          all or what was served, and every action of the target policy with its
target_propensities              none   propensity (lists): a reward model is then fitted
context_…                        no     numbers known before the decision, for that model
user_id                          no     whose row it is: intervals draw users
slate_id, position               both   the list, and the slot from 0; rows of a list together, ascending
                                 or none
logging_marginal,                both   in (0, 1] and [0, 1]: propensity of the item in its slot whatever
target_marginal                  or none stands above
================================ ====== ==================================================================
"""

from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64

from recsys.errors import DataError
from recsys.experiments.off_policy import PolicyLog
from recsys.experiments.reward_model import Options, cross_fitted
from recsys.experiments.slate import SlateLog
from recsys.schema import POSITION, USER_ID

REWARD, LOGGING, TARGET = "reward", "logging_propensity", "target_propensity"
Q_LOGGED, Q_TARGET = "q_logged", "q_target"
SLATE_ID = "slate_id"
ACTION, TARGET_ACTIONS, TARGET_PROPENSITIES = "action", "target_actions", "target_propensities"
CONTEXT = "context_"
LOGGING_MARGINAL, TARGET_MARGINAL = "logging_marginal", "target_marginal"

_TOGETHER = (
    (Q_LOGGED, Q_TARGET),
    (SLATE_ID, POSITION),
    (LOGGING_MARGINAL, TARGET_MARGINAL),
    (ACTION, TARGET_ACTIONS, TARGET_PROPENSITIES),
)
_SUM_TOLERANCE = 1e-6
_ROUNDING = 1e-12  # a product of probabilities may come out this much above 1


def read_policy_log(path: Path) -> pl.DataFrame:
    """Read a log from Parquet and check it.

    Raises:
        DataError: The file cannot be read, or breaks the table above.
    """
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"expected a Parquet file with a log, cannot read {path}: {error}") from error
    return checked(frame)


def checked(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a log unchanged but for number types, if it is one.

    Raises:
        DataError: It breaks the table of this module.
    """
    _require_columns(frame)
    if frame.is_empty():
        raise DataError("the log is empty, expected at least one row")
    frame = _as_numbers(frame)
    for name, least_open in (
        (LOGGING, True),
        (LOGGING_MARGINAL, True),
        (TARGET, False),
        (TARGET_MARGINAL, False),
    ):
        if name in frame.columns:
            _require_probabilities(frame, name, above_zero=least_open)
    if USER_ID in frame.columns and (nulls := frame[USER_ID].null_count()):
        raise DataError(f"{USER_ID} is missing in {nulls:,} rows; fill it in, or leave the column out")
    if SLATE_ID in frame.columns:
        _require_sorted_slates(frame)
    if ACTION in frame.columns:
        frame = _with_checked_actions(frame)
    return frame


def policy_log(frame: pl.DataFrame) -> PolicyLog:
    """A checked log for estimators of one action per row; lists are taken as single actions.

    A list's propensity is the product over its slots, its reward the sum; a model of slots is for lists only.
    """
    if SLATE_ID in frame.columns:
        by_list = frame.group_by(SLATE_ID, maintain_order=True)
        frame = by_list.agg(
            pl.col(REWARD).sum(),
            pl.col(LOGGING, TARGET).product(),
            *([pl.col(USER_ID).first()] if USER_ID in frame.columns else []),
        )
    has_model = Q_LOGGED in frame.columns
    q_logged, q_target = None, None
    if has_model:
        q_logged, q_target = _values(frame, Q_LOGGED), _values(frame, Q_TARGET)
    elif ACTION in frame.columns:
        q_logged, q_target = _fitted(frame)
    log = PolicyLog(
        reward=_values(frame, REWARD),
        logging_propensity=_values(frame, LOGGING),
        target_propensity=_values(frame, TARGET),
        cluster=_clusters(frame),
        q_logged=q_logged,
        q_target=q_target,
    )
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        if not np.isfinite(log.weight).all():
            raise DataError(
                f"a {LOGGING} is so small that {TARGET} / {LOGGING} is no number; leave such rows out"
            )
    return log


def slate_log(frame: pl.DataFrame) -> SlateLog:
    """A checked log of lists for estimators of lists."""
    firsts = frame.group_by(SLATE_ID, maintain_order=True).first()
    lengths = frame.group_by(SLATE_ID, maintain_order=True).len()["len"].to_numpy()
    rows = np.repeat(np.arange(len(lengths)), lengths)
    slots = frame[POSITION].to_numpy()

    def spread(value: Float64[np.ndarray, " rows"], empty: float) -> Float64[np.ndarray, "lists slots"]:
        matrix = np.full((len(lengths), int(lengths.max())), empty)
        matrix[rows, slots] = value
        return matrix

    has_model, has_marginal = Q_LOGGED in frame.columns, LOGGING_MARGINAL in frame.columns
    return SlateLog(
        reward=spread(_values(frame, REWARD), 0.0),
        ratio=spread(_values(frame, TARGET) / _values(frame, LOGGING), 1.0),
        cluster=_clusters(firsts),
        marginal_ratio=spread(_values(frame, TARGET_MARGINAL) / _values(frame, LOGGING_MARGINAL), 1.0)
        if has_marginal
        else None,
        q_logged=spread(_values(frame, Q_LOGGED), 0.0) if has_model else None,
        q_target=spread(_values(frame, Q_TARGET), 0.0) if has_model else None,
    )


def _require_columns(frame: pl.DataFrame) -> None:
    missing = [name for name in (REWARD, LOGGING, TARGET) if name not in frame.columns]
    if missing:
        raise DataError(
            f"expected the columns {REWARD}, {LOGGING} and {TARGET}, the log lacks {' and '.join(missing)}; "
            "a policy can be evaluated only where the propensities of what was served are known"
        )
    for names in _TOGETHER:
        given = [name for name in names if name in frame.columns]
        if given and len(given) < len(names):
            raise DataError(f"expected {' and '.join(names)} or none, got only {' and '.join(given)}")


def _as_numbers(frame: pl.DataFrame) -> pl.DataFrame:
    names = (REWARD, LOGGING, TARGET, Q_LOGGED, Q_TARGET, LOGGING_MARGINAL, TARGET_MARGINAL)
    present = [name for name in names if name in frame.columns] + _contexts(frame)
    for name in present:
        kind = frame[name].dtype
        if not (kind.is_numeric() or kind == pl.Boolean):
            raise DataError(f"expected numbers in {name}, got {kind}")
    frame = frame.with_columns(pl.col(name).cast(pl.Float64) for name in present)
    for name in present:
        if wrong := int((~frame[name].is_finite()).fill_null(value=True).sum()):
            raise DataError(
                f"expected finite numbers in {name}, {wrong:,} of {frame.height:,} rows have none"
            )
    return frame


def _require_probabilities(frame: pl.DataFrame, name: str, *, above_zero: bool) -> None:
    values = frame[name]
    least = values <= 0 if above_zero else values < 0
    outside = values.filter(least | (values > 1 + _ROUNDING))
    if len(outside):
        allowed = "(0, 1]" if above_zero else "[0, 1]"
        raise DataError(
            f"expected {name} in {allowed}, {len(outside):,} rows are outside, such as {outside[0]}"
        )


def _require_sorted_slates(frame: pl.DataFrame) -> None:
    if not frame[POSITION].dtype.is_integer() or frame[POSITION].null_count() or frame[SLATE_ID].null_count():
        raise DataError(f"expected {SLATE_ID} and a whole number as {POSITION} in every row")
    run = frame[SLATE_ID].rle_id()
    expected = frame.select(pl.int_range(pl.len()).over(run)).to_series()
    split = run.n_unique() - frame[SLATE_ID].n_unique()
    if split or not (expected == frame[POSITION]).all():
        raise DataError(
            f"expected the rows of every list together, with {POSITION} 0, 1, 2 and so on; "
            f"sort the log by {SLATE_ID} and {POSITION}, and keep every slot from the first on"
        )
    if USER_ID in frame.columns:
        several = frame.group_by(SLATE_ID).agg(pl.col(USER_ID).n_unique())[USER_ID]
        if mixed := int((several > 1).sum()):
            raise DataError(f"expected one {USER_ID} per list, {mixed:,} lists have more")


def _contexts(frame: pl.DataFrame) -> list[str]:
    return [name for name in frame.columns if name.startswith(CONTEXT)]


def _with_checked_actions(frame: pl.DataFrame) -> pl.DataFrame:
    try:
        frame = frame.with_columns(
            pl.col(ACTION).cast(pl.String),
            pl.col(TARGET_ACTIONS).cast(pl.List(pl.String)),
            pl.col(TARGET_PROPENSITIES).cast(pl.List(pl.Float64)),
        )
    except pl.exceptions.PolarsError as error:
        expected = f"{ACTION} as text, {TARGET_ACTIONS} and {TARGET_PROPENSITIES} as lists"
        raise DataError(f"expected {expected}; {error}") from error
    sums = frame[TARGET_PROPENSITIES].list.sum()
    whole = ((sums - 1).abs() <= _SUM_TOLERANCE) & (frame[TARGET_PROPENSITIES].list.min() >= 0)
    paired = frame[TARGET_PROPENSITIES].list.len() == frame[TARGET_ACTIONS].list.len()
    if wrong := int((~(whole & paired)).fill_null(value=True).sum()) + frame[ACTION].null_count():
        raise DataError(
            f"expected in every row an {ACTION}, and {TARGET_PROPENSITIES} of all {TARGET_ACTIONS}, each at "
            f"least 0, with the sum 1; {wrong:,} rows have not"
        )
    return frame


def _fitted(frame: pl.DataFrame) -> tuple[Float64[np.ndarray, " rows"], Float64[np.ndarray, " rows"]]:
    """``q_logged`` and ``q_target`` of a model of action and context."""
    offered = frame.select(
        pl.int_range(pl.len()).alias("row"), TARGET_ACTIONS, TARGET_PROPENSITIES, *_contexts(frame)
    ).explode(TARGET_ACTIONS, TARGET_PROPENSITIES)
    names = (
        pl.concat([frame[ACTION], offered[TARGET_ACTIONS]]).rank("dense").to_numpy().astype(np.float64) - 1
    )
    contexts = [frame.select(_contexts(frame)).to_numpy(), offered.select(_contexts(offered)).to_numpy()]
    served, options = (
        np.column_stack([codes, context]).astype(np.float64)
        for codes, context in zip(np.split(names, [frame.height]), contexts, strict=True)
    )
    return cross_fitted(
        served,
        _values(frame, REWARD),
        Options(offered["row"].to_numpy(), options, _values(offered, TARGET_PROPENSITIES)),
        _clusters(frame),
        categorical=(0,),
    )


def _values(frame: pl.DataFrame, name: str) -> Float64[np.ndarray, " rows"]:
    return frame[name].to_numpy().astype(np.float64)


def _clusters(frame: pl.DataFrame) -> Int64[np.ndarray, " rows"]:
    if USER_ID not in frame.columns:
        return np.arange(frame.height)
    return frame[USER_ID].rank("dense").to_numpy().astype(np.int64) - 1
