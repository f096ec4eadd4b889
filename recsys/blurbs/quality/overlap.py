"""How near texts are to people's descriptions: an alarm for sudden change, no measure of quality or truth."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Overlap:
    """Against the shop's descriptions. A good text may score low, and a false one high."""

    num_texts: int
    bleu: float
    """Corpus BLEU, 0 to 100."""
    signature: str
    """How sacrebleu counted it; figures of other signatures are not comparable."""
    rouge_l: float
    """Mean F1 of ROUGE-L, in [0, 1]; words of Latin letters and digits only."""


def overlap(pairs: Sequence[tuple[str, str]]) -> Overlap | None:
    """Compare texts with descriptions; ``None`` without pairs, or where the extra ``quality`` is missing.

    Args:
        pairs: A text and the description of its item.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
        from sacrebleu.metrics.bleu import BLEU
    except ImportError:
        return None
    if not pairs:
        return None
    texts, descriptions = [text for text, _ in pairs], [description for _, description in pairs]
    bleu = BLEU()
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    scores = [scorer.score(theirs, ours)["rougeL"].fmeasure for ours, theirs in pairs]
    return Overlap(
        len(pairs),
        float(bleu.corpus_score(texts, [descriptions]).score),
        str(bleu.get_signature()),
        sum(scores) / len(scores),
    )
