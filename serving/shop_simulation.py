"""Households that visit a running server: each asks for a list, sees it, buys and clicks by a choice model.

A household's chances are drawn from the seed, its number and nothing else, so the same lists give the same
purchases, in whatever order the server answers.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import grpc
import numpy as np

from recsys.errors import ConfigError, DataError
from recsys.experiments.choice_model import ChoiceModel, Expected, PlantedEffect, over_visits
from recsys.experiments.definition import Experiment
from recsys.progress import Advance
from recsys.v1.event_service_pb2 import EVENT_STATUS_REJECTED, Event
from recsys.v1.recommendation_service_pb2 import RecommendRequest, RecommendResponse
from serving.client import AsyncClient, Connection
from serving.households import Household

PAGE_SIZE = 10
"""Items of a list."""
_AT_ONCE = 16  # households
_TIMEOUT_SECONDS = 10.0
_TRIES, _PAUSE_SECONDS = 100, 0.25  # while the server says that it has too much to do
_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Visit:
    """What came of one list."""

    control: Expected
    """What the list brings on average in control, see ``ChoiceModel.expected``."""
    treatment: Expected
    num_events: int
    """Impressions, clicks and purchases."""
    num_purchases: int


@dataclass(frozen=True)
class Traffic:
    """What all households did."""

    visits: Sequence[Sequence[Visit]]
    """Of every household that takes part in the experiment."""
    num_without_arm: int
    """Lists that are no exposures: the household takes no part, or the server could not tell its arm."""

    @property
    def num_lists(self) -> int:
        """Lists that are exposures."""
        return sum(map(len, self.visits))

    @property
    def num_events(self) -> int:
        """Events that the server took."""
        return sum(visit.num_events for visits in self.visits for visit in visits)

    @property
    def num_purchases(self) -> int:
        """Those of them that are purchases."""
        return sum(visit.num_purchases for visits in self.visits for visit in visits)

    @cached_property
    def planted(self) -> PlantedEffect:
        """The true effect on everybody who took part."""
        control = [over_visits([visit.control for visit in visits]) for visits in self.visits]
        treatment = [over_visits([visit.treatment for visit in visits]) for visits in self.visits]
        return PlantedEffect(np.mean(control, axis=0), np.mean(treatment, axis=0))


@dataclass(frozen=True)
class Shop:
    """A server, and what is simulated with it."""

    address: str
    experiment: Experiment
    choices: ChoiceModel
    prices: Mapping[str, float]
    """By item; purchases of others have no price."""
    session_id: str
    """Marks the events."""
    seed: int = 0

    async def receive(self, households: Sequence[Household], visits: int, advance: Advance) -> Traffic:
        """Let every household visit so often, one visit after the other.

        Raises:
            ConfigError: The server is not there or refuses, or nobody takes part in the experiment.
            DataError: It rejects an event.
        """
        waiting, done = iter(enumerate(households)), dict[int, list[Visit]]()
        try:
            async with AsyncClient(Connection(self.address, _TIMEOUT_SECONDS)) as client:
                work = [self._serve(client, waiting, visits, done, advance) for _ in range(_AT_ONCE)]
                await asyncio.gather(*work)
        except grpc.aio.AioRpcError as error:
            raise ConfigError(
                f"the server at {self.address} says {error.code().name}: {error.details()}; see that `recsys "
                "serve` runs there on the same workspace"
            ) from error
        taking_part = [done[number] for number in sorted(done) if done[number]]
        if not taking_part:
            raise ConfigError(
                f"no list of {self._placement} was given an arm of {self.experiment.key!r}; see that the "
                "server runs on the same workspace, and whom targeting, layer and coverage take in"
            )
        return Traffic(taking_part, len(households) * visits - sum(map(len, taking_part)))

    async def _serve(
        self,
        client: AsyncClient,
        waiting: Iterator[tuple[int, Household]],
        visits: int,
        done: dict[int, list[Visit]],
        advance: Advance,
    ) -> None:
        for number, household in waiting:
            rng = np.random.default_rng([self.seed, number])
            found = [await self._visit(client, household, rng) for _ in range(visits)]
            done[number] = [visit for visit in found if visit is not None]
            advance(1)

    async def _visit(
        self, client: AsyncClient, household: Household, rng: np.random.Generator
    ) -> Visit | None:
        request = RecommendRequest(user_id=household.user_id, placement=self._placement, page_size=PAGE_SIZE)
        answer = await _patiently(lambda: client.recommend(request))
        chances = rng.random((2, PAGE_SIZE))[:, : len(answer.results)]
        arm = next((each.arm for each in answer.assignments if each.experiment == self.experiment.key), None)
        if arm is None or not answer.results:
            return None
        item_ids = [result.item_id for result in answer.results]
        appeal = self.choices.appeal(household.bought, item_ids)
        treated = arm != self.experiment.control.key
        bought = np.flatnonzero(chances[0] < self.choices.purchases(appeal, treated=treated))
        clicked = np.flatnonzero(chances[1] < self.choices.clicks(appeal))
        await self._record(client, household.user_id, answer, clicked.tolist(), bought.tolist())
        prices = np.asarray([self.prices.get(item_id, 0.0) for item_id in item_ids])
        control = self.choices.expected(appeal, prices, treated=False)
        treatment = self.choices.expected(appeal, prices, treated=True)
        return Visit(control, treatment, len(item_ids) + len(clicked) + len(bought), len(bought))

    async def _record(
        self,
        client: AsyncClient,
        user_id: str,
        answer: RecommendResponse,
        clicked: Sequence[int],
        bought: Sequence[int],
    ) -> None:
        """Send what happened with a list, all of it now: after the list, by the server's own clock."""
        events = [Event(event_type="impression")]
        events += [Event(event_type="click", item_id=answer.results[place].item_id) for place in clicked]
        for item_id in [answer.results[place].item_id for place in bought]:
            price = self.prices.get(item_id)
            quantity = None if price is None else 1.0
            events.append(Event(event_type="purchase", item_id=item_id, quantity=quantity, price=price))
        for event in events:
            event.user_id, event.session_id = user_id, self.session_id
            event.attribution_token = answer.attribution_token
        for result in await _patiently(lambda: client.record_events(events)):
            if result.status == EVENT_STATUS_REJECTED:
                raise DataError(f"the server at {self.address} rejects an event: {result.reason}")

    @property
    def _placement(self) -> str:
        """Where the experiment is exposed; ``home`` where it is everywhere."""
        places = self.experiment.exposed_placements
        return "home" if places is None or "home" in places else min(places)


async def _patiently(call: Callable[[], Awaitable[_T]]) -> _T:
    """What a call brings, made again while the server has more to do than it can."""
    for _ in range(_TRIES):
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
        await asyncio.sleep(_PAUSE_SECONDS)
    return await call()
