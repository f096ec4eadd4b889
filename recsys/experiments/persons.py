"""From lists to persons: which arm each person counts for, and what is wrong where they met several.

A person is a user with the visitors that logged in as that user. Two causes of several arms differ:

* **Crossed**: different ids of the person had different arms, as when somebody visits on a second device, is
  assigned as a visitor there, and logs in. Chance did that, the same in every arm; the person counts for the
  arm of the first exposure, whatever came later (intent to treat), which keeps the arms comparable and only
  dilutes the effect.
* **Mixed**: one and the same id had several arms. Assignment or logging is broken, and nobody knows for whom.
"""

from dataclasses import dataclass

import polars as pl

from recsys.experiments.bulk import ARM, UNIT_ID
from recsys.experiments.data_quality import Problem
from recsys.schema import SERVED_TIME

FIRST_EXPOSURE = "first_exposure"
NUM_LISTS = "num_lists"
SUBJECT = "subject"

MAX_CROSSED_SHARE = 0.1
"""Share of crossed persons above which no verdict is given.

Crossing pulls the arms together, by a factor of 1 - R_T - R_C with the shares of treatment and control that
get the other arm instead of their own (Lachin, Controlled Clinical Trials 2, 1981). At a tenth in both that
is down to 0.8: an effect takes up to 1 / 0.8^2 = 1.56 times the units, and what is worse, harm of 1.25 times
a guardrail's margin passes for the margin; in such comparisons intent to treat is not the cautious choice
(ICH E9, section 5.2.3).
"""


@dataclass(frozen=True, eq=False)
class Persons:
    """Everybody who was exposed, once."""

    units: pl.DataFrame
    """Those who are analysed, the crossed ones with their first arm: ``unit_id``, ``arm``,
    ``first_exposure``, ``num_lists``."""
    mixed: pl.DataFrame
    """Those who are left out: ``unit_id``, ``arms``, ``first_exposure``."""
    crossed: pl.DataFrame
    """Those of ``units`` who met another arm around a login: ``unit_id``, ``arm``, ``arms``, and
    ``elsewhere``, the share of their lists that are of other arms than theirs."""


def persons_of(lists: pl.DataFrame) -> Persons:
    """Tell persons apart.

    Args:
        lists: ``unit_id`` of the person, ``subject`` that was served, ``served_time``, ``arm``.
    """
    ordered = lists.sort(SERVED_TIME, ARM)
    grouped = ordered.group_by(UNIT_ID).agg(
        pl.col(ARM).first(),
        first_exposure=pl.col(SERVED_TIME).first(),
        num_lists=pl.len(),
        is_several=pl.col(ARM).min() != pl.col(ARM).max(),
    )
    several = grouped.filter("is_several")
    about = _met(ordered.join(several.select(UNIT_ID), on=UNIT_ID, how="semi"))
    several = several.join(about, on=UNIT_ID).sort(UNIT_ID)
    mixed = several.filter("is_mixed")
    return Persons(
        units=grouped.join(mixed, on=UNIT_ID, how="anti")
        .select(UNIT_ID, ARM, FIRST_EXPOSURE, NUM_LISTS)
        .sort(UNIT_ID),
        mixed=mixed.select(UNIT_ID, "arms", FIRST_EXPOSURE),
        crossed=several.filter(~pl.col("is_mixed")).select(UNIT_ID, ARM, "arms", "elsewhere"),
    )


def crossing_problems(crossed: pl.DataFrame, num_units: int) -> tuple[Problem, ...]:
    """What to say of persons who met two arms by logging in.

    Args:
        crossed: See ``Persons.crossed``.
        num_units: Persons who are analysed, these among them.
    """
    if crossed.is_empty():
        return ()
    share, elsewhere = crossed.height / num_units, float(crossed["elsewhere"].sum()) / num_units
    message = (
        f"{crossed.height:,} units ({share:.2%}) met several arms because they logged in on a device where "
        f"they had another arm as visitors; they count for the first one. {elsewhere:.2%} of an average "
        "unit's lists are of another arm than its own, so effects, harm too, are diluted: they are larger"
    )
    if share <= MAX_CROSSED_SHARE:
        return (Problem("crossed_arms", "warning", message),)
    message += (
        f". Above {MAX_CROSSED_SHARE:.0%} no verdict is given: experiment where people are logged in, or "
        "record the login with the first event that has both ids"
    )
    return (Problem("crossed_arms", "blocking", message),)


def _met(lists: pl.DataFrame) -> pl.DataFrame:
    """Of every person: arms, whether one id had several, and the share of lists of other arms than the first.

    The lists are in order of time.
    """
    of_ids = lists.group_by(UNIT_ID, SUBJECT).agg(several=pl.col(ARM).n_unique() > 1)
    mixed = of_ids.group_by(UNIT_ID).agg(is_mixed=pl.col("several").any())
    foreign = lists.group_by(UNIT_ID, maintain_order=True).agg(
        arms=pl.col(ARM).unique().sort(),
        elsewhere=(pl.col(ARM) != pl.col(ARM).first()).mean(),
    )
    return mixed.join(foreign, on=UNIT_ID)
