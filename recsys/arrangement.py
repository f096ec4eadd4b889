"""What happens to a list after it was scored: repeats, rules, diversity, caps, new items and then pins.

Every step gets the rows of the list, best first, and gives them back in another order. No step depends on how
many items are asked for, so that a shorter list is the start of a longer one.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from recsys.answer import Query, RuleStep
from recsys.catalogue import Catalogue
from recsys.config import ExplorationConfig, PlacementConfig, SamplingConfig
from recsys.diversity import diversified
from recsys.draw_policy import DrawPolicy
from recsys.exploration import explored, upper_rates
from recsys.moment import Moment
from recsys.plackett_luce import draw, sampling_random
from recsys.repeats import shown_in_vain
from recsys.rule_book import ActiveRules, Meant, Pinned
from recsys.rules import Boost, Bury, Cap

DIVERSITY, REPEAT, EXPLORATION, SAMPLING = "diversity", "shown_before", "exploration", "sampling"
"""Steps of ``RankedItem.rule_steps`` that no rule of the shop stands behind."""
_PLACES, _POOL = 50, 200

_Rows = Int64[np.ndarray, "_"]
"""Candidate rows; a step may add some."""


@dataclass(frozen=True, eq=False)
class _Step:
    name: str
    before: _Rows
    after: _Rows
    touched: Bool[np.ndarray, " candidates"] | None
    """Rows that the step is about; ``None`` for all."""


@dataclass(eq=False)
class Arrangement:
    """A list while it is rearranged, and what moved its items."""

    positions: Int64[np.ndarray, " candidates"]
    """Catalogue positions of the candidates."""
    rows: _Rows
    """Candidate rows in the list's order."""
    propensity: dict[int, float] = field(default_factory=dict)
    """By row, where it is not 1."""
    policy: str = ""
    """How the order was drawn, where it was, see ``RankedList.policy``."""
    _steps: list[_Step] = field(default_factory=list)

    def cut(self, limit: int) -> _Rows:
        """Keep the first ``limit`` rows, and give back those that follow."""
        further = self.rows[limit:]
        self.rows = self.rows[:limit]
        return further

    def move(self, name: str, touched: Bool[np.ndarray, " candidates"], factor: float) -> None:
        """Multiply the places, from 1, of some candidates; one that moves up passes what stands there."""
        of_rows = touched[self.rows]
        if not of_rows.any():
            return
        places = np.arange(1.0, len(self.rows) + 1) * np.where(of_rows, factor, 1.0)
        order = np.lexsort((of_rows if factor > 1 else ~of_rows, places))
        self.put(name, self.rows[order], touched)

    def apply(self, rules: Sequence[Meant]) -> None:
        """Boost and bury."""
        for meant in rules:
            rule = meant.rule
            if isinstance(rule, Boost | Bury):
                factor = 1 / rule.factor if isinstance(rule, Boost) else rule.factor
                self.move(rule.name, meant.items[self.positions], factor)

    def diversify(self, level: float, vectors: Float32[np.ndarray, "top dim"]) -> None:
        """Fill the first places anew, see ``recsys.diversity``; relevance falls evenly from 1 downwards.

        The first 50 places get items of the first 200; what is left of these follows in the order it had.

        Args:
            level: From 0 to 1.
            vectors: Unit vectors of ``top``.
        """
        top = self.top
        relevance = 1 - np.arange(len(top)) / max(len(top), 1)
        chosen = diversified(relevance, vectors, level, _PLACES)
        others = np.delete(self.rows, chosen)
        self.put(DIVERSITY, np.concatenate((top[chosen], others)), None)

    @property
    def top(self) -> _Rows:
        """The rows that ``diversify`` chooses from."""
        return self.rows[:_POOL]

    def cap(self, rules: Sequence[Meant], catalogue: Catalogue) -> None:
        """Give each of the first places to the best row that exceeds no cap there, or else to the best."""
        caps = [(meant.rule, self._codes(meant, catalogue)) for meant in rules if isinstance(meant.rule, Cap)]
        left, placed, held = self.rows.tolist(), [], dict[int, str]()
        counts: Counter[tuple[str, int]] = Counter()
        for place in range(min(max(rule.first for rule, _ in caps), len(left))):
            here = [(rule, codes) for rule, codes in caps if place < rule.first]
            chosen = 0
            for at, row in enumerate(left):
                over = [rule.name for rule, codes in here if counts[rule.name, codes[row]] >= rule.most]
                if not over:
                    chosen = at
                    break
                held.setdefault(row, over[0])
            placed.append(left.pop(chosen))
            counts.update((rule.name, codes[placed[-1]]) for rule, codes in here)
        self._hold_back(np.asarray(placed + left, np.int64), held)

    def sample(
        self,
        config: SamplingConfig,
        scores: Float64[np.ndarray, " candidates"],
        keep_out: Bool[np.ndarray, " candidates"],
        random: np.random.Generator,
    ) -> None:
        """Draw the first places, see ``recsys.plackett_luce``.

        The utility of the n-th item is the n-th best score: its own, where nothing else reordered the list;
        what rules moved is as likely to stay there.

        Args:
            config: How.
            scores: Of the candidates.
            keep_out: Candidates that get a place of their own later, whatever is drawn.
            random: Where the randomness comes from.
        """
        free = self.rows[~keep_out[self.rows]]
        pool = free[: config.pool]
        if not len(pool):
            return
        utilities = -np.sort(-scores[pool]) / config.temperature
        found = draw(utilities, config.places, random)
        first = pool[found.order]
        self.propensity.update(zip(first.tolist(), found.propensities.tolist(), strict=True))
        drawn = min(config.places, config.pool)
        self.policy = DrawPolicy(config.temperature, config.pool, drawn).text
        others = self.rows[~np.isin(self.rows, first)]
        self.put(SAMPLING, np.concatenate((first, others)), None)

    def explore(
        self,
        config: ExplorationConfig,
        is_new: Bool[np.ndarray, " candidates"],
        seed: str,
        worth: Float64[np.ndarray, " candidates"] | None = None,
    ) -> None:
        """Draw new items into the list, see ``recsys.exploration``."""
        found = explored(self.rows, is_new, config, seed, worth)
        self.propensity.update(found.propensity)
        self.policy = f"exploration share={config.share:g} pool={config.pool} floor={config.floor:g}"
        self.put(EXPLORATION, found.rows, np.isin(np.arange(len(self.positions)), found.drawn))

    def put(self, name: str, rows: _Rows, touched: Bool[np.ndarray, " candidates"] | None) -> None:
        """Take a new order, and note which step made it."""
        self._steps.append(_Step(name, self.rows, rows, touched))
        self.rows = rows

    def pin(self, pins: Sequence[Pinned], allowed: Bool[np.ndarray, " candidates"]) -> None:
        """Put items on their places, the first place first; of two on one place the later follows."""
        place = -1
        for pinned in sorted(pins, key=lambda pinned: pinned.place):
            [found] = np.flatnonzero(self.positions == pinned.position)[:1].tolist() or [-1]
            if found < 0 or not allowed[found]:
                continue
            others = self.rows[self.rows != found]
            place = min(max(pinned.place, place + 1), len(others))
            self.put(pinned.name, np.insert(others, place, found), np.arange(len(self.positions)) == found)

    def steps(self) -> dict[int, tuple[RuleStep, ...]]:
        """What moved the list's rows, by row; those that nothing moved are left out."""
        found: dict[int, list[RuleStep]] = {}
        wanted = self.rows
        for step in self._steps:
            before, after = (self._places(order)[wanted] for order in (step.before, step.after))
            moved = before != after
            if step.touched is not None:
                moved &= step.touched[wanted]
            for at in np.flatnonzero(moved).tolist():
                origin = int(before[at]) if before[at] >= 0 else None
                found.setdefault(int(wanted[at]), []).append(RuleStep(step.name, origin, int(after[at])))
        return {row: tuple(steps) for row, steps in found.items()}

    def _places(self, order: _Rows) -> Int64[np.ndarray, " candidates"]:
        places = np.full(len(self.positions), -1)
        places[order] = np.arange(len(order))
        return places

    def _codes(self, meant: Meant, catalogue: Catalogue) -> dict[int, int]:
        """What counts as one kind, by row; rows that the cap is not about have a kind of their own."""
        assert isinstance(meant.rule, Cap)
        of_rows = self.positions[self.rows]
        codes = catalogue.attribute_codes[meant.rule.by][of_rows].astype(np.int64)
        counted = meant.items[of_rows] & (codes >= 0)
        kinds = np.where(counted, codes, -1 - np.arange(len(codes)))
        return dict(zip(self.rows.tolist(), kinds.tolist(), strict=True))

    def _hold_back(self, after: _Rows, held: dict[int, str]) -> None:
        before = self.rows
        for name in dict.fromkeys(held.values()):
            touched = np.zeros(len(self.positions), np.bool_)
            touched[[row for row, by in held.items() if by == name]] = True
            self._steps.append(_Step(name, before, after, touched))
        self.rows = after


def rearranges(placement: PlacementConfig, active: ActiveRules) -> bool:
    """Whether anything may reorder a list after it was scored."""
    configured = (placement.repeats, placement.exploration, placement.sampling) != (None, None, None)
    return bool(configured or placement.diversity or active.moves or active.caps or active.pins)


def arrange(
    listed: Arrangement,
    moment: Moment,
    query: Query,
    placement: PlacementConfig,
    *,
    active: ActiveRules,
    may_pin: Bool[np.ndarray, " candidates"],
    scores: Float64[np.ndarray, " candidates"],
) -> None:
    """Take a list through all steps.

    Args:
        listed: The list by score, whole.
        moment: The user at the moment.
        query: The question.
        placement: Its placement.
        active: The rules that apply to it.
        may_pin: Whether each candidate may be shown at all.
        scores: What the list was ordered by.
    """
    parts, positions = moment.parts, listed.positions
    if placement.repeats is not None:
        vain = shown_in_vain(query.user, parts.catalogue, placement.repeats, query.as_of_ms)
        listed.move(REPEAT, np.isin(positions, vain), placement.repeats.factor)
    listed.apply(active.moves)
    if placement.diversity:
        listed.diversify(placement.diversity, parts.index.of_items(positions[listed.top]))
    if active.caps:
        listed.cap(active.caps, parts.catalogue)
    seed = f"{query.subject} {query.as_of_ms} {query.placement}"
    random = None if placement.sampling is None else sampling_random(placement.sampling, seed)
    if placement.sampling is not None and random is not None:
        pinned = np.isin(positions, [pin.position for pin in active.pins])
        listed.sample(placement.sampling, scores, pinned & may_pin, random)
    elif placement.exploration is not None:
        is_new = moment.popularity.engagement[-1][positions] <= placement.exploration.max_events
        worth = upper_rates(moment.popularity.click_rates, positions)
        listed.explore(placement.exploration, is_new, seed, worth)
    listed.pin(active.pins, may_pin)
