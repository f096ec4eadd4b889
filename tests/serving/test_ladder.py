"""Tests of what is answered when a part of an answer fails."""

from dataclasses import dataclass, field

import pytest

from recsys.answer import Query, RankedItem, RankedList, ServiceLevel
from recsys.config import StateConfig
from recsys.errors import CatalogueError, ConfigError, InvalidRequestError
from recsys.user_state import UserState
from serving.ladder import FAILED, answered
from tests.serving.small_shop import NOON

QUERY = Query(as_of_ms=NOON, user=UserState(StateConfig().half_lives_days), placement="home", limit=5)
EGGS = (RankedItem("eggs", 1.0),)


def ranked(level: ServiceLevel, *reasons: str) -> RankedList:
    return RankedList(EGGS, level, "m1", reasons)


@dataclass
class Ranking:
    """Fails for somebody, or for everybody."""

    failure: Exception
    nobody: RankedList | None = None
    queries: list[Query] = field(default_factory=list)

    def __call__(self, query: Query) -> RankedList:
        self.queries.append(query)
        if query.user is None and self.nobody is not None:
            return self.nobody
        raise self.failure


class Bestsellers:
    def popular(self, query: Query, reason: str) -> RankedList:
        assert query is QUERY
        return ranked(ServiceLevel.POPULAR, reason)


def test_what_works_is_answered_as_it_is() -> None:
    full = ranked(ServiceLevel.FULL)
    assert answered(Bestsellers(), QUERY, lambda _: full, popular=True) is full


def test_a_part_that_fails_on_the_shopper_gives_the_list_of_nobody_in_particular() -> None:
    ranking = Ranking(ZeroDivisionError(), ranked(ServiceLevel.FULL, "ranker_unavailable"))
    found = answered(Bestsellers(), QUERY, ranking, popular=True)
    assert found.service_level is ServiceLevel.NO_PERSONAL
    assert found.degraded_reasons == ("ranker_unavailable", FAILED)
    assert found.items == EGGS
    assert [query.user is None for query in ranking.queries] == [False, True]


def test_a_popular_list_of_nobody_stays_one() -> None:
    ranking = Ranking(ZeroDivisionError(), ranked(ServiceLevel.POPULAR))
    assert answered(object(), QUERY, ranking, popular=False).service_level is ServiceLevel.POPULAR


def test_when_all_else_fails_there_is_what_sells() -> None:
    found = answered(Bestsellers(), QUERY, Ranking(ZeroDivisionError()), popular=True)
    assert (found.service_level, found.degraded_reasons) == (ServiceLevel.POPULAR, (FAILED,))


@pytest.mark.parametrize(("pipeline", "popular"), [(Bestsellers(), False), (object(), True)])
def test_where_what_sells_would_not_do_the_first_failure_is_told(pipeline: object, popular: bool) -> None:
    failure = ZeroDivisionError("the first")
    with pytest.raises(ZeroDivisionError) as caught:
        answered(pipeline, QUERY, Ranking(failure), popular=popular)
    assert caught.value is failure


@pytest.mark.parametrize("error", [InvalidRequestError, ConfigError, CatalogueError])
def test_what_the_caller_has_to_know_is_not_answered_over(error: type[Exception]) -> None:
    ranking = Ranking(error())
    with pytest.raises(error):
        answered(Bestsellers(), QUERY, ranking, popular=True)
    assert len(ranking.queries) == 1
