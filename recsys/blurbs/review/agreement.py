"""How far people agree with the gate and with each other."""

from collections import Counter
from dataclasses import dataclass

from scipy.stats import beta

from recsys.blurbs.review.judgement import Decision, Judgement, Occasion

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class SampleCheck:
    """What people found among texts that the gate had let through."""

    num_judged: int
    num_bad: int
    """Rejected or edited."""

    @property
    def upper(self) -> float:
        """Upper bound of the share of bad texts at 95 %, in [0, 1]: Clopper and Pearson; about 3/n of none.

        Source: Hanley and Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA 249 (1983).
        """
        if self.num_bad >= self.num_judged:
            return 1.0
        return float(beta.ppf(_CONFIDENCE, self.num_bad + 1, self.num_judged - self.num_bad))

    @property
    def words(self) -> str:
        """In a sentence."""
        if not self.num_judged:
            return "no sample of what the gate let through was judged: nothing is known about it"
        return (
            f"{self.num_bad} bad of {self.num_judged} sampled: fewer than {self.upper:.1%} of what the gate "
            "lets through is bad, at 95 %"
        )


@dataclass(frozen=True)
class Agreement:
    """Two people about the same texts."""

    num_pairs: int
    share: float
    """Of the pairs that said the same, in [0, 1]; 0 without any."""
    kappa: float | None
    """Cohen's kappa, in [-1, 1]; ``None`` without pairs, or where everybody always said the same."""


def sample_check(said: list[Judgement]) -> SampleCheck:
    """Count the samples."""
    samples = [one for one in said if one.occasion is Occasion.SAMPLE]
    return SampleCheck(len(samples), sum(one.decision is not Decision.APPROVED for one in samples))


def agreement(said: list[Judgement]) -> Agreement:
    """Compare each second opinion with the decision before it."""
    first: dict[str, Decision] = {}
    pairs = []
    for one in said:
        if one.occasion is Occasion.DOUBLE and one.blurb_id in first:
            pairs.append((first[one.blurb_id], one.decision))
        elif one.is_final:
            first[one.blurb_id] = one.decision
    if not pairs:
        return Agreement(0, 0.0, None)
    share = sum(mine is theirs for mine, theirs in pairs) / len(pairs)
    return Agreement(len(pairs), share, _kappa(pairs, share))


def _kappa(pairs: list[tuple[Decision, Decision]], share: float) -> float | None:
    """Agreement beyond chance. Source: Cohen, Educational and Psychological Measurement 20 (1960)."""
    mine, theirs = (Counter(side) for side in zip(*pairs, strict=True))
    chance = sum(mine[decision] * theirs[decision] for decision in Decision) / len(pairs) ** 2
    return None if chance == 1 else (share - chance) / (1 - chance)
