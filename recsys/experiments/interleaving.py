"""One list from two rankings, so that the same user compares them: team draft.

The teams pick in turn, the one with fewer picks first, a fair coin when they have equally many; a team picks
its best item that is not yet taken. A click counts for the team that picked the item.

Source: Radlinski, Kurup and Joachims (2008), *How Does Clickthrough Data Reflect Retrieval Quality?*,
algorithm 2. Deviation: where one ranking has run out, the other one fills the list; the paper ends it there.
Items that both rankings hold count for the team that drafted them, as in the paper; the variant that ignores
them (competitive pairs) is another method.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

Team = Literal["a", "b"]


@dataclass(frozen=True)
class Draft:
    """A list, and who picked each of its items."""

    item_ids: tuple[str, ...]
    teams: tuple[Team, ...]
    """Per slot."""
    propensities: tuple[float, ...] = field(default=(), compare=False, repr=False)
    """Per slot: probability of its item and team given the slots above, 1/2 where a coin decided, else 1."""


def team_draft(a: Sequence[str], b: Sequence[str], seed: str, limit: int | None = None) -> Draft:
    """Draft one list from two rankings.

    Args:
        a: Distinct item ids, best first.
        b: The same of the other ranking.
        seed: Equal seeds draft equally. When serving, it must name experiment, user and list, see
            ``draft_seed``.
        limit: Most items; all of both rankings when absent.

    >>> team_draft(["x", "y"], ["y", "z"], seed="1")
    Draft(item_ids=('x', 'y', 'z'), teams=('a', 'b', 'b'))
    """
    return draft(a, b, coins(seed), limit)


def draft(a: Sequence[str], b: Sequence[str], flips: Iterator[bool], limit: int | None = None) -> Draft:
    """Draft with given coins: heads lets ``a`` pick first. One coin is taken per tie that both can break."""
    rankings: dict[Team, Iterator[str]] = {"a": iter(a), "b": iter(b)}
    taken: dict[str, Team] = {}
    picks: dict[Team, int] = {"a": 0, "b": 0}
    best: dict[Team, str | None] = {"a": None, "b": None}
    chances: list[float] = []
    room = len({*a, *b}) if limit is None else min(limit, len({*a, *b}))
    while len(taken) < room:
        for team, ranking in rankings.items():
            if best[team] is None or best[team] in taken:
                best[team] = next((item for item in ranking if item not in taken), None)
        by_coin = None not in best.values() and picks["a"] == picks["b"]
        team = _whose_turn(picks, best, flips)
        picked = best[team]
        assert picked is not None  # room counts the items that are left
        taken[picked] = team
        picks[team] += 1
        chances.append(0.5 if by_coin else 1.0)
    return Draft(tuple(taken), tuple(taken.values()), tuple(chances))


def coins(seed: str) -> Iterator[bool]:
    """Fair coins from a seed, the same on every machine: the bits of SHA-256 of seed and block number."""
    block = 0
    while True:
        digest = hashlib.sha256(f"{seed}\x1f{block}".encode()).digest()
        yield from (bool(byte >> bit & 1) for byte in digest for bit in range(8))
        block += 1


def draft_seed(salt: str, subject: str, list_id: str) -> str:
    """The seed of one served list, whose coins so follow from what the log keeps of it.

    Later pages are cut from the list that the first page drafted, so they need no seed.
    """
    return "\x1f".join((salt, subject, list_id))


def shared_prefix(a: Sequence[str], b: Sequence[str]) -> int:
    """How many first places both rankings fill alike: whatever is clicked there tells nothing of them."""
    same = 0
    for one, other in zip(a, b, strict=False):
        if one != other:
            break
        same += 1
    return same


def _whose_turn(picks: dict[Team, int], best: dict[Team, str | None], flips: Iterator[bool]) -> Team:
    if best["a"] is None:
        return "b"
    if best["b"] is None:
        return "a"
    if picks["a"] != picks["b"]:
        return "a" if picks["a"] < picks["b"] else "b"
    return "a" if next(flips) else "b"
