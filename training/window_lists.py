"""A bundle's lists for the users of a test window, through the pipeline that serves them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64

from features.log import OfflineLog
from features.moments import offline_states
from features.registry import OnlineFeatures
from recsys.answer import Query, RankedList
from recsys.bundle import Bundle
from recsys.catalogue import Catalogue
from recsys.event_log import EventLog
from recsys.item_state import ItemState
from recsys.moment import Moment
from recsys.pipeline import Pipeline
from recsys.progress import progress
from recsys.schema import AS_OF, ITEM_ID, QUERY_ID, RANK, USER_ID
from training.threads import in_threads

DEPTH = 10
"""Ranks of a list that is scored."""
RECALL_DEPTH = 500
"""Candidates whose recall is measured."""
EXPLAINED_USERS = 500
"""Most users whose lists are explained; evenly spread over all of them."""
_EVERYTHING = 10_000


@dataclass(frozen=True, eq=False)
class WindowLists:
    """What a bundle recommends to every test user. Frames: ``user_id``, ``item_id``, ``rank`` from 1."""

    all: pl.DataFrame
    """The first ``DEPTH`` of the whole catalogue."""
    novel: pl.DataFrame
    """The same of what the user never had."""
    sources: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """What each candidate source offered, and all together as ``merged``."""
    text: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """What the encoder alone finds, ``tuned_text`` and ``frozen_text``."""
    shap: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Mean absolute contribution to the scores of the first ``DEPTH``, by ranker and feature."""


class _Asked(NamedTuple):
    """A test user's question."""

    number: int
    user_id: str
    query: Query


class _Answers(NamedTuple):
    """What a test user is told."""

    user_id: str
    everything: RankedList
    """All candidates, in order."""
    new: RankedList
    text: dict[str, list[str]]
    explained: RankedList | None
    """The first of all, with contributions; for some users only."""


class WindowUsers:
    """The test users as of the start of the window, and a bundle's pipeline for them."""

    def __init__(self, bundle: Bundle, log: EventLog, users: pl.Series, start_ms: int) -> None:
        """Build every user's state.

        Args:
            bundle: The model.
            log: The events; those at or after ``start_ms`` are not seen.
            users: Distinct ids.
            start_ms: The moment, milliseconds since the epoch.
        """
        self._bundle, self._users, self._start_ms = bundle, users, start_ms
        config, self._catalogue = bundle.manifest.config, bundle.parts.catalogue
        items = ItemState.from_events(self._catalogue, config.state, log.scan(), start_ms)
        self._pipeline = Pipeline(bundle, items, OnlineFeatures(config.state))
        queries = (
            pl.DataFrame({USER_ID: users})
            .with_row_index(QUERY_ID)
            .with_columns(pl.col(QUERY_ID).cast(pl.Int64), pl.lit(start_ms, pl.Int64).alias(AS_OF))
        )
        self._states = offline_states(OfflineLog.of(log.scan(), queries, self._catalogue, config))

    def lists(self, label: str) -> WindowLists:
        """The two lists of every user, and nothing else.

        Args:
            label: What the progress bar says.
        """

        def ask(asked: _Asked) -> tuple[str, RankedList, RankedList]:
            query, gathered = asked.query, self._pipeline.gather(asked.query)
            novel = self._pipeline.order(gathered, replace(query, novel=True))
            return asked.user_id, self._pipeline.order(gathered, query), novel

        ranked, novel = dict[str, list[str]](), dict[str, list[str]]()
        for user_id, answer, new in in_threads(ask, self._queries(label)):
            ranked[user_id], novel[user_id] = _item_ids(answer), _item_ids(new)
        return WindowLists(lists_frame(ranked), lists_frame(novel))

    def everything(self, label: str) -> WindowLists:
        """The lists with what the sources and the text alone find, and what moved the scores.

        Args:
            label: What the progress bar says.
        """
        ranked, novel = dict[str, list[str]](), dict[str, list[str]]()
        sources: defaultdict[str, dict[str, list[str]]] = defaultdict(dict)
        text: defaultdict[str, dict[str, list[str]]] = defaultdict(dict)
        shap = _Contributions()
        every = -(-len(self._users) // EXPLAINED_USERS)

        def ask(asked: _Asked) -> _Answers:
            query, explain = asked.query, asked.number % every == 0
            gathered = self._pipeline.gather(query)
            order = partial(self._pipeline.order, gathered)
            return _Answers(
                asked.user_id,
                order(replace(query, limit=_EVERYTHING)),
                order(replace(query, novel=True, explain=explain)),
                self._text_alone(gathered.moment),
                order(replace(query, explain=True)) if explain else None,
            )

        for user_id, answer, new, words, explained in in_threads(ask, self._queries(label)):
            ranked[user_id], novel[user_id] = _item_ids(answer), _item_ids(new)
            for name, offered in _by_source(answer).items():
                sources[name][user_id] = offered
            for name, found in words.items():
                text[name][user_id] = found
            if explained is not None:
                shap.add("all", explained)
                shap.add("new" if "new" in self._bundle.rankers else "all", new)
        sources["merged"] = ranked
        return WindowLists(
            all=lists_frame(ranked).filter(pl.col(RANK) <= DEPTH),
            novel=lists_frame(novel),
            sources={name: lists_frame(found) for name, found in sources.items()},
            text={name: lists_frame(found) for name, found in text.items()},
            shap=shap.means(),
        )

    def text_alone(self, label: str) -> dict[str, pl.DataFrame]:
        """What the encoder alone finds for every user with a history, see ``WindowLists.text``.

        Args:
            label: What the progress bar says.
        """
        text: defaultdict[str, dict[str, list[str]]] = defaultdict(dict)
        for _, user_id, query in self._queries(label):
            for name, found in self._text_alone(self._pipeline.moment(query)).items():
                text[name][user_id] = found
        return {name: lists_frame(found) for name, found in text.items()}

    def _queries(self, label: str) -> Iterator[_Asked]:
        with progress(label, len(self._users)) as advance:
            for number, user_id in enumerate(self._users.to_list()):
                query = Query(self._start_ms, user=self._states.get(number), limit=DEPTH)
                yield _Asked(number, user_id, query)
                advance(1)

    def _text_alone(self, moment: Moment) -> dict[str, list[str]]:
        """The encoder's own candidates, after training and before.

        The pretrained encoder has no user tower: its user vector is the mean of the recent items' vectors,
        each weighted by the square root of its count.
        """
        popularity = moment.popularity.engagement[-1]
        if not len(moment.user.recent.positions):
            return {}
        depth = RECALL_DEPTH + len(moment.user.positions)  # the own items are left out of some slices
        tuned = moment.parts.index.nearest_items(moment.user_vector, depth, popularity)
        frozen = moment.parts.words.nearest_items(moment.words_vector, depth, popularity)
        return {"tuned_text": _ids(self._catalogue, tuned), "frozen_text": _ids(self._catalogue, frozen)}


class _Contributions:
    """Sums of absolute contributions by ranker."""

    def __init__(self) -> None:
        self._sums: dict[str, Float64[np.ndarray, " features"]] = {}
        self._rows: defaultdict[str, int] = defaultdict(int)
        self._names: tuple[str, ...] = ()

    def add(self, ranker: str, answer: RankedList) -> None:
        for item in answer.items:
            if item.explanation is None:
                continue
            parts = item.explanation.contributions
            self._names = parts.features
            sizes = np.abs(parts.contributions)
            self._sums[ranker] = self._sums.get(ranker, np.zeros(len(parts))) + sizes
            self._rows[ranker] += 1

    def means(self) -> dict[str, dict[str, float]]:
        return {
            ranker: dict(zip(self._names, (sums / self._rows[ranker]).tolist(), strict=True))
            for ranker, sums in self._sums.items()
        }


def _item_ids(answer: RankedList) -> list[str]:
    return [item.item_id for item in answer.items]


def _by_source(answer: RankedList) -> Mapping[str, list[str]]:
    offered: defaultdict[str, list[str]] = defaultdict(list)
    for item in answer.items:
        for source in item.sources:
            offered[source].append(item.item_id)
    return offered


def _ids(catalogue: Catalogue, positions: Int64[np.ndarray, " items"]) -> list[str]:
    return [catalogue.item_ids[position] for position in positions.tolist()]


def lists_frame(items_by_user: Mapping[str, list[str]]) -> pl.DataFrame:
    """Ranked lists as a frame: ``user_id``, ``item_id``, ``rank`` from 1; users without items have no row."""
    return (
        pl.DataFrame(
            {USER_ID: list(items_by_user), ITEM_ID: list(items_by_user.values())},
            schema={USER_ID: pl.String, ITEM_ID: pl.List(pl.String)},
        )
        .explode(ITEM_ID)
        .drop_nulls()
        .with_columns(pl.int_range(1, pl.len() + 1).over(USER_ID).alias(RANK))
    )
