"""How much a shop's texts repeat each other."""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from recsys.blurbs.quality.reading import tokens

_ORDERS: Final = (1, 2, 3, 4)
_MOST_TEXTS: Final = 500
_SEED: Final = 7

_Gram = tuple[str, ...]


@dataclass(frozen=True)
class Diversity:
    """Of a set of texts; all but ``opening_entropy`` lie in [0, 1]."""

    distinct_1: float
    """Different words among all. Source: Li et al., NAACL 2016."""
    distinct_2: float
    """Different pairs of neighbouring words among all."""
    self_bleu: float | None
    """Mean BLEU-4 of each text against all others: lower is more varied. Source: Zhu et al., SIGIR 2018."""
    opening_entropy: float
    """Shannon entropy in bits of the first three words; the most that so many texts can have is log2(n)."""
    commonest_opening: str
    commonest_share: float
    """Share of the texts that begin with it."""


def diversity(texts: Sequence[str]) -> Diversity:
    """Measure texts of one language; self-BLEU on 500 at most, drawn at random."""
    split = [tokens(text) for text in texts]
    openings = Counter(" ".join(words[:3]) for words in split)
    commonest, number = openings.most_common(1)[0] if openings else ("", 0)
    return Diversity(
        distinct_1=_distinct(split, 1),
        distinct_2=_distinct(split, 2),
        self_bleu=self_bleu(split),
        opening_entropy=_entropy(openings),
        commonest_opening=commonest,
        commonest_share=number / len(texts) if texts else 0.0,
    )


def self_bleu(split: Sequence[Sequence[str]]) -> float | None:
    """Mean BLEU of each text with the others as references; ``None`` for fewer than two texts.

    An order without a match counts half a match, and orders that a text is too short for are left out.
    """
    texts = [words for words in split if words]
    if len(texts) > _MOST_TEXTS:
        texts = random.Random(_SEED).sample(texts, _MOST_TEXTS)
    if len(texts) < 2:
        return None
    grams = [[Counter(_grams(words, order)) for order in _ORDERS] for words in texts]
    most = [_two_most([counted[order] for counted in grams]) for order in range(len(_ORDERS))]
    lengths = Counter(len(words) for words in texts)
    return sum(_bleu(place, grams[place], most, lengths) for place in range(len(texts))) / len(texts)


def _bleu(
    place: int,
    counted: list[Counter[_Gram]],
    most: list[dict[_Gram, list[tuple[int, int]]]],
    lengths: Counter[int],
) -> float:
    logs = []
    for order, counts in enumerate(counted):
        total = counts.total()
        if total:
            matched = sum(min(n, _most_of_others(most[order][gram], place)) for gram, n in counts.items())
            logs.append(math.log(max(matched, 0.5) / total))
    length = counted[0].total()
    others = lengths - Counter({length: 1})
    closest = min(others, key=lambda other: (abs(other - length), other))
    brevity = min(0.0, 1 - closest / length)
    return math.exp(sum(logs) / len(logs) + brevity)


def _two_most(counted: Sequence[Counter[_Gram]]) -> dict[_Gram, list[tuple[int, int]]]:
    """For each n-gram, the two texts that have it most often: one is enough for all texts but that one."""
    found: dict[_Gram, list[tuple[int, int]]] = defaultdict(list)
    for place, counts in enumerate(counted):
        for gram, number in counts.items():
            found[gram] = sorted([*found[gram], (number, place)], reverse=True)[:2]
    return found


def _most_of_others(most: list[tuple[int, int]], place: int) -> int:
    return next((number for number, owner in most if owner != place), 0)


def _grams(words: Sequence[str], order: int) -> list[_Gram]:
    return [tuple(words[start : start + order]) for start in range(len(words) - order + 1)]


def _distinct(split: Sequence[Sequence[str]], order: int) -> float:
    grams = [gram for words in split for gram in _grams(words, order)]
    return len(set(grams)) / len(grams) if grams else 0.0


def _entropy(counts: Counter[str]) -> float:
    total = counts.total()
    return sum(-number / total * math.log2(number / total) for number in counts.values()) + 0.0
