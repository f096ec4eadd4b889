"""What is answered when a part of an answer fails or takes too long: something simpler, never an error.

The rungs: the ranker's list; the same candidates in the order in which they were found, where only the ranker
fails (``recsys.pipeline`` sees to that); the list of somebody unknown; what is popular.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, runtime_checkable

import structlog

from recsys.answer import Query, RankedList, ServiceLevel
from recsys.errors import CatalogueError, ConfigError, InvalidRequestError

FAILED = "pipeline_failed"
"""Degraded reason: a part of the model failed, so the answer does without it."""
LATE = "deadline"
"""Degraded reason: the answer would not have come in time."""

_TOLD = (InvalidRequestError, ConfigError, CatalogueError)  # what the caller has to know
_log = structlog.get_logger(__name__)


@runtime_checkable
class Popular(Protocol):
    """Can answer from next to nothing; ``recsys.pipeline.Pipeline``."""

    def popular(self, query: Query, reason: str) -> RankedList:
        """What is popular and may be shown."""
        ...


def answered(
    pipeline: object, query: Query, ranking: Callable[[Query], RankedList], *, popular: bool
) -> RankedList:
    """The best list that the model can still make.

    Args:
        pipeline: Whose list.
        query: What is asked.
        ranking: How it is answered as a rule.
        popular: Whether what is popular would do; it does not for a list of the caller's own.

    Raises:
        RecsysError: The caller is told of it.
        Exception: Nothing could be answered at all.
    """
    try:
        return ranking(query)
    except _TOLD:
        raise
    except Exception as error:
        _log.exception("an answer goes without a part that failed")
        try:
            return _lower(ranking(replace(query, user=None)), ServiceLevel.NO_PERSONAL)
        except Exception:  # noqa: BLE001  # the next rung
            if popular and isinstance(pipeline, Popular):
                return pipeline.popular(query, FAILED)
        raise error


def _lower(ranked: RankedList, level: ServiceLevel) -> RankedList:
    if ranked.service_level is ServiceLevel.POPULAR:
        level = ServiceLevel.POPULAR
    return replace(ranked, service_level=level, degraded_reasons=(*ranked.degraded_reasons, FAILED))
