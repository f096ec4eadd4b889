"""Lets the shadow model score what was answered, off the answer's path, and keeps count of how they agree.

One thread does it; while it is busy with as many recommendations as it may owe, further ones are let go.
"""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import structlog

from recsys.answer import Query, RankedList
from serving.models import Models
from serving.ranking_pipeline import RankingPipeline

_log = structlog.get_logger(__name__)

TOP = 10
"""First places that are compared."""
_MOST_OWED = 4


@dataclass(frozen=True)
class Agreement:
    """How a shadow's lists agree with those that were answered, on average over ``num_compared``."""

    num_compared: int = 0
    num_dropped: int = 0
    """Chosen for comparison, but the shadow was busy."""
    num_failed: int = 0
    """The shadow could not answer."""
    overlap: float = 0.0
    """Share of the served first ``TOP`` that the shadow has among its own first ``TOP``."""
    rank_difference: float = 0.0
    """Mean absolute difference of the places of items that both lists hold."""
    score_drift: float = 0.0
    """Mean of the shadow's score less the served one, over the same items, in the score's unit."""

    def and_one(self, overlap: float, rank_difference: float, score_drift: float) -> "Agreement":
        """The averages with one more comparison."""
        count = self.num_compared + 1

        def mean(old: float, new: float) -> float:
            return old + (new - old) / count

        return replace(
            self,
            num_compared=count,
            overlap=mean(self.overlap, overlap),
            rank_difference=mean(self.rank_difference, rank_difference),
            score_drift=mean(self.score_drift, score_drift),
        )


class Shadow:
    """Compares the shadow, where there is one, with a sample of what is answered."""

    def __init__(self, models: Models, share: float) -> None:
        """Start with nothing compared.

        Args:
            models: Whose shadow scores.
            share: Share of the recommendations to compare, 0 to 1.
        """
        self._models = models
        self._share = share
        self._random = random.Random()  # a sample, not a secret
        self.may_work: Callable[[], bool] = lambda: True
        """Whether there is room for what nobody waits for."""
        self._executor = ThreadPoolExecutor(1, "shadow")
        self._lock = threading.Lock()
        self._owed = 0
        self._version = ""
        self.agreement = Agreement()
        """Of the shadow that there is now, in this process."""

    def observe(self, pipeline: RankingPipeline, query: Query, served: RankedList) -> None:
        """Compare an answer of the stable model later, if it is drawn and the shadow is not busy."""
        shadow = self._models.lineup.shadow
        if shadow is None or pipeline is not self._models.stable or self._random.random() >= self._share:
            return
        if not self.may_work():
            return
        with self._lock:
            if shadow.pipeline.version != self._version:
                self._version, self.agreement = shadow.pipeline.version, Agreement()
            if self._owed >= _MOST_OWED:
                self.agreement = replace(self.agreement, num_dropped=self.agreement.num_dropped + 1)
                return
            self._owed += 1
        self._executor.submit(self._compare, shadow.pipeline, query, served)

    def close(self) -> None:
        """Finish the comparison under way and forget the rest."""
        self._executor.shutdown(cancel_futures=True)

    def _compare(self, pipeline: RankingPipeline, query: Query, served: RankedList) -> None:
        found, failed = None, False
        try:
            found = compare(served, pipeline.recommend(replace(query, explain=False)))
        except Exception as error:  # noqa: BLE001  # a shadow may do anything but harm
            failed = True
            if not self.agreement.num_failed:
                _log.warning("the shadow cannot answer", reason=repr(error))
        with self._lock:
            self._owed -= 1
            if pipeline.version != self._version:
                return
            if failed:
                self.agreement = replace(self.agreement, num_failed=self.agreement.num_failed + 1)
            elif found is not None:
                self.agreement = self.agreement.and_one(*found)


def compare(served: RankedList, shadow: RankedList) -> tuple[float, float, float] | None:
    """Overlap, mean difference of places and mean difference of scores, see ``Agreement``; ``None`` if empty.

    Items that only one list holds count in the overlap alone.
    """
    if not served.items:
        return None
    theirs = {item.item_id: (place, item.score) for place, item in enumerate(shadow.items)}
    both = [
        (place - theirs[item.item_id][0], theirs[item.item_id][1] - item.score)
        for place, item in enumerate(served.items)
        if item.item_id in theirs
    ]
    first = {item.item_id for item in shadow.items[:TOP]}
    top = served.items[:TOP]
    overlap = sum(item.item_id in first for item in top) / len(top)
    if not both:
        return overlap, 0.0, 0.0
    places, scores = np.asarray(both).T
    return overlap, float(np.abs(places).mean()), float(scores.mean())
