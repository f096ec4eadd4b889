"""One served list of two models' lists, by team draft: what the server shows when an experiment interleaves.

Each model has applied filters, rules and diversity to its own list before. The first page's teams stand in
the list's ``policy``, slot by slot, which is how clicks are credited later; later pages keep none.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from recsys.answer import RankedItem, RankedList, Remainder, ServiceLevel
from recsys.candidates import SOURCE_NAMES, source_names
from recsys.experiments.interleaving import Draft, Team, coins, draft

_POLICY = re.compile(r"team_draft experiment=(\S+) a=(\S+) b=(\S+)(?: degraded=([ab]+))? teams=([ab]*)")


@dataclass(frozen=True)
class DraftPolicy:
    """What the ``policy`` of a drafted list says."""

    experiment: str
    """Its key."""
    model_a: str
    """Version of the first arm's model."""
    model_b: str
    teams: tuple[Team, ...]
    """Per slot of the first page."""
    degraded: tuple[Team, ...] = ()
    """Whose own list did not go through the whole pipeline; such a draft says nothing about the models."""

    @property
    def text(self) -> str:
        """The policy as text; the inverse of ``read``."""
        models = f"a={self.model_a} b={self.model_b}"
        degraded = f" degraded={''.join(self.degraded)}" if self.degraded else ""
        return f"team_draft experiment={self.experiment} {models}{degraded} teams={''.join(self.teams)}"

    @classmethod
    def read(cls, text: str) -> "DraftPolicy | None":
        """Read what ``text`` wrote; ``None`` for another policy.

        >>> DraftPolicy.read("team_draft experiment=new a=1 b=2 teams=ab").teams
        ('a', 'b')
        """
        found = _POLICY.fullmatch(text)
        if found is None:
            return None
        experiment, model_a, model_b, degraded, teams = found.groups()
        return cls(experiment, model_a, model_b, _teams(teams), _teams(degraded or ""))


def drafted_list(
    a: RankedList,
    b: RankedList,
    *,
    experiment: str,
    seed: str,
    limit: int,
    knows: Callable[[str], bool] = lambda _: True,
) -> RankedList:
    """Draft one list from two, with everything that a served list needs.

    Args:
        a: The first arm's list, with what follows it for later pages.
        b: The second arm's.
        experiment: The experiment's key.
        seed: Equal seeds draft equally.
        limit: Items of the first page.
        knows: Whether the first model knows an item; only such items of ``b`` are drafted.

    Returns:
        A list that says of itself what ``a`` does, but for items, propensities, policy and what follows; an
        item's score is that of the model that picked it, its propensity that of the item and its team given
        the slots above. As many items follow as followed ``a``'s page.
    """
    of_b = {item_id: item for item_id, item in _everything(b) if knows(item_id)}
    offers = {"a": dict(_everything(a)), "b": of_b}
    whole = draft(list(offers["a"]), list(offers["b"]), coins(seed), len(offers["a"]) or None)
    items = [
        offers[team][item_id]._replace(propensity=propensity)
        for item_id, team, propensity in zip(whole.item_ids, whole.teams, whole.propensities, strict=True)
    ]
    levels: dict[Team, ServiceLevel] = {"a": a.service_level, "b": b.service_level}
    degraded = tuple(team for team, level in levels.items() if level is not ServiceLevel.FULL)
    policy = DraftPolicy(experiment, a.model_version, b.model_version, whole.teams[:limit], degraded)
    return replace(
        a,
        items=tuple(items[:limit]),
        policy=policy.text,
        rest=_remainder(items[limit:], whole, limit) if len(items) > limit and a.rest is not None else None,
    )


def _teams(letters: str) -> tuple[Team, ...]:
    return tuple("a" if letter == "a" else "b" for letter in letters)


def _everything(ranked: RankedList) -> Iterator[tuple[str, RankedItem]]:
    """All items of a list by their ids, those for later pages included."""
    rest: Iterator[RankedItem] = iter(())
    if ranked.rest is not None:
        columns = (ranked.rest.item_ids, ranked.rest.scores.tolist(), ranked.rest.sources.tolist())
        rest = (
            RankedItem(item_id, score, source_names(bits))
            for item_id, score, bits in zip(*columns, strict=True)
        )
    for item in chain(ranked.items, rest):
        yield item.item_id, item


def _remainder(items: list[RankedItem], whole: Draft, limit: int) -> Remainder:
    bits = [sum(1 << SOURCE_NAMES.index(name) for name in item.sources) for item in items]
    chances = enumerate(whole.propensities[limit:])
    return Remainder(
        [item.item_id for item in items],
        np.asarray([item.score for item in items], np.float64),
        np.asarray(bits, np.uint32),
        {at: chance for at, chance in chances if chance < 1},
    )
