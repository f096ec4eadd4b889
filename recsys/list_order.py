"""What a list is ordered by before anything rearranges it."""

import numpy as np
from jaxtyping import Bool, Float64, Int64

_FUSION_RANK, _RANKER_SHARE = 10, 0.5
_RELEVANCE_STEPS = 5  # of 1.0, see Sought.relevance: one step outweighs any rank


def best_first(
    scores: Float64[np.ndarray, " candidates"], keep: Bool[np.ndarray, " candidates"]
) -> Int64[np.ndarray, " kept"]:
    """Rows to keep by descending score; ties by catalogue position, which is by item id."""
    order: Int64[np.ndarray, " candidates"] = np.argsort(-scores, kind="stable")
    kept: Int64[np.ndarray, " kept"] = order[keep[order]]
    return kept


def by_relevance(
    relevance: Float64[np.ndarray, " candidates"], scores: Float64[np.ndarray, " candidates"]
) -> Float64[np.ndarray, " candidates"]:
    """How well items meet a query, in fifths of 1, and within a fifth the ranker's order."""
    value: Float64[np.ndarray, " candidates"] = _RELEVANCE_STEPS * len(scores) * relevance - _ranks(scores)
    return value


def fused(
    retrieval: Float64[np.ndarray, " candidates"], scores: Float64[np.ndarray, " candidates"]
) -> Float64[np.ndarray, " candidates"]:
    """What the sources say, then the ranker: ``1 / (10 + r) + 0.5 / (10 + s)`` of the ranks r and s from 1.

    So the sources' first item may yield to the ranker's first from among their first twelve, not to others.

    Source: reciprocal rank fusion, see ``recsys.candidates.merge``, with weights and a smaller constant.
    """
    by_sources, by_score = (_FUSION_RANK + _ranks(values) for values in (retrieval, scores))
    value: Float64[np.ndarray, " candidates"] = 1 / by_sources + _RANKER_SHARE / by_score
    return value


def _ranks(values: Float64[np.ndarray, " candidates"]) -> Float64[np.ndarray, " candidates"]:
    """Ranks from 1, the largest first; ties by row."""
    ranks = np.empty(len(values))
    ranks[np.argsort(-values, kind="stable")] = np.arange(1.0, len(values) + 1)
    return ranks
