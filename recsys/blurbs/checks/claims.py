"""Claims that need proof: materials, health, origin, certificates, superlatives."""

from collections.abc import Iterator

from recsys.blurbs.checks.examined import Examined
from recsys.blurbs.ground import negated_places
from recsys.blurbs.verdict import REVIEW, Reason


def check(examined: Examined) -> Iterator[Reason]:
    """Yield ``claim_<name>`` for claims that no structured fact makes, or that are never allowed."""
    negated = negated_places(examined.text, examined.lexicon)
    for match in examined.claims:
        claim = examined.lexicon.claims[match.topic]
        if examined.is_quoted(match.start, match.end):
            continue
        is_made = match.topic in examined.ground.claims and match.start not in negated
        if claim.policy == "never" or not is_made:
            yield examined.reason(f"claim_{match.topic}", match.start, match.end)
        elif claim.policy == "review":
            yield examined.reason(f"claim_{match.topic}", match.start, match.end, REVIEW)
