"""What one reading of an experiment may say, given those before it.

``group_sequential`` decides at planned looks only, each of which is used once; ``fixed`` decides once;
``always_valid`` may be read at any time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from recsys.experiments.definition import Analysis
from recsys.experiments.group_sequential import crossing_probabilities
from recsys.experiments.look_book import Look

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Reading:
    """What one reading may say, given those before it."""

    past: tuple[Look, ...] | None
    """Looks that were taken, oldest first; ``None`` where nobody keeps a book."""
    fractions: tuple[float, ...] = ()
    """Of ``group_sequential``: earlier looks and this one, as shares of the planned units; empty between
    looks."""
    next_units: int | None = None
    """Units at the next planned look after this reading; ``None`` where none is left or planned."""

    @property
    def settled(self) -> Look | None:
        """The look that must be repeated: it decided, or it was the last one that was planned."""
        decided = next((look for look in self.past or () if look.decides), None)
        if decided is None and self.past and not self.fractions and self.next_units is None:
            return self.past[-1] if self.past[-1].alpha_spent is not None else None
        return decided


def reading_of(analysis: Analysis, num_units: int, past: Sequence[Look] | None = None) -> Reading:
    """Which look a reading is.

    A look is taken when the share of the planned units has reached a planned look, ``1 / looks``,
    ``2 / looks`` and so on, that no earlier look has used; an earlier one has used every planned look up to
    its own share. It counts with the share that was really reached, and information beyond the plan as the
    whole; so what is spent depends on when one looked, never on what was seen (Lan, DeMets 1983).

    Args:
        analysis: The definition's.
        num_units: Units of all arms.
        past: Looks that were taken; ``None`` where nobody knows: then planned looks before the latest one
            that was reached are taken as used, and this reading as the latest.
    """
    taken = None if past is None else tuple(past)
    planned = analysis.expected_units
    if analysis.method != "group_sequential" or planned is None:
        return Reading(taken)
    fraction = min(num_units / planned, 1.0)
    reached = _num_reached(fraction, analysis.looks)
    if taken is None:
        earlier = tuple(look / analysis.looks for look in range(1, reached))
    else:
        earlier = tuple(look.fraction for look in taken if look.fraction is not None)
    used = _num_reached(max(earlier, default=0.0), analysis.looks)
    is_look = reached > used and fraction > max(earlier, default=0.0)
    following = max(used, reached) + 1
    after = math.ceil(following * planned / analysis.looks) if following <= analysis.looks else None
    return Reading(taken, (*earlier, fraction) if is_look else (), after)


def false_alarm(analysis: Analysis, units: Sequence[int]) -> float:
    """Probability that one of several readings of a fixed test finds something where there is nothing.

    Args:
        analysis: The definition's, for alpha.
        units: At every reading.

    Source: Armitage, McPherson, Rowe, "Repeated significance tests on accumulating data", JRSS A 1969.

    >>> round(false_alarm(Analysis(), [100, 200, 300, 400, 500]), 3)
    0.142
    """
    rising = sorted({number for number in units if number > 0})
    critical = float(stats.norm.isf(analysis.alpha / 2))
    fractions = [number / rising[-1] for number in rising]
    return sum(crossing_probabilities([critical] * len(rising), fractions))


def _num_reached(fraction: float, looks: int) -> int:
    """How many of the planned looks a share of the planned units has reached."""
    return math.floor(fraction * looks + _ROUNDING)
