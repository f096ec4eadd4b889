"""Past decisions, ready for a ranker: what could have been recommended, and what the user then did."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float32, Int64

from features.log import POSITION
from recsys.schema import QUERY_ID
from training.labels import LABEL


@dataclass(frozen=True, eq=False)
class Decisions:
    """Ranking groups: the rows of one query are consecutive."""

    matrix: Float32[np.ndarray, "rows features"]
    labels: Int64[np.ndarray, " rows"]
    """Grade: the position of the event type's weight among ``labels.gains``."""
    positions: Int64[np.ndarray, " rows"]
    """Catalogue position of the candidate."""
    groups: Int64[np.ndarray, " queries"]
    """Rows per query."""
    users: list[str]
    """User per query."""
    places: Int64[np.ndarray, " rows"] | None = None
    """Place of the item on the list that was shown, -1 where it is not known; None without lists."""

    def __add__(self, other: "Decisions") -> "Decisions":
        places = [given for given in (self.places, other.places) if given is not None]
        return Decisions(
            np.concatenate((self.matrix, other.matrix)),
            np.concatenate((self.labels, other.labels)),
            np.concatenate((self.positions, other.positions)),
            np.concatenate((self.groups, other.groups)),
            self.users + other.users,
            np.concatenate(places) if len(places) == 2 else None,
        )


def part_of(whole: Decisions, first: int, step: int) -> Decisions:
    """Every ``step``-th query from ``first`` on, with all of its rows."""
    chosen = np.arange(len(whole.groups)) % step == first
    rows = np.repeat(chosen, whole.groups)
    return Decisions(
        whole.matrix[rows],
        whole.labels[rows],
        whole.positions[rows],
        whole.groups[chosen],
        [user for user, is_chosen in zip(whole.users, chosen, strict=False) if is_chosen],
        None if whole.places is None else whole.places[rows],
    )


def as_decisions(
    matrix: Float32[np.ndarray, "rows features"], pairs: pl.DataFrame, user_ids: list[str]
) -> Decisions:
    """Ranking groups of a table's rows; ``user_ids`` by query id."""
    query, size = np.unique(pairs[QUERY_ID].to_numpy(), return_counts=True)
    return Decisions(
        matrix=matrix,
        labels=pairs[LABEL].to_numpy(),
        positions=pairs[POSITION].to_numpy(),
        groups=size,
        users=[user_ids[i] for i in query.tolist()],
    )
