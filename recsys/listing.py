"""Rows of scored candidates, written out as the items of an answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from recsys.answer import Explanation, RankedItem, Remainder
from recsys.arrangement import Arrangement
from recsys.candidates import Candidates, source_names
from recsys.explaining import reasons


@dataclass(frozen=True, eq=False)
class Listing:
    """Candidates with the scores that their list shows."""

    item_ids: Sequence[str]
    """By catalogue position."""
    candidates: Candidates
    scores: Float64[np.ndarray, " candidates"]

    def items(
        self, arranged: Arrangement, explanations: Sequence[Explanation], words: Mapping[str, str]
    ) -> tuple[RankedItem, ...]:
        """The items of the arranged rows.

        Args:
            arranged: The rows, and what moved them.
            explanations: One per row, or none at all.
            words: See ``recsys.explaining.reasons``.
        """
        rows, propensity, steps = arranged.rows, arranged.propensity, arranged.steps()
        of_rows = (self.candidates.positions[rows], self.scores[rows], self.candidates.sources[rows])
        columns = (column.tolist() for column in (rows, *of_rows))
        items = [
            RankedItem(
                self.item_ids[position],
                score,
                source_names(sources),
                rule_steps=steps.get(row, ()),
                propensity=propensity.get(row, 1.0),
            )
            for row, position, score, sources in zip(*columns, strict=True)
        ]
        if explanations:
            items = [
                item._replace(reasons=reasons(why.contributions, words), explanation=why)
                for item, why in zip(items, explanations, strict=True)
            ]
        return tuple(items)

    def rest(self, further: Int64[np.ndarray, " rest"], propensity: Mapping[int, float]) -> Remainder | None:
        """What follows the items, ``None`` for nothing; nothing is made per item, most lists have one page.

        Args:
            further: Rows, in order.
            propensity: By row, where it is not 1.
        """
        if not len(further):
            return None
        drawn = enumerate(further.tolist()) if propensity else ()
        return Remainder(
            [self.item_ids[position] for position in self.candidates.positions[further].tolist()],
            self.scores[further],
            self.candidates.sources[further],
            {at: propensity[row] for at, row in drawn if row in propensity},
        )
