from pathlib import Path

import numpy as np
import polars as pl

from features.histories import histories
from features.registry import as_ranker_input, log_matrix
from features.states import every_state
from recsys.event_log import EventLog
from recsys.schema import AS_OF, QUERY_ID, USER_ID
from recsys.user_shard import every_shard
from recsys.user_state import UserState
from tests.features.small_log import CATALOGUE, CONFIG, hand_made_parts, pair_frame
from tests.recsys.small_catalogue import NOW
from tests.shopping_log import shopping_log

_COUNT = 3


def contents(state: UserState) -> tuple[object, ...]:
    return (
        state.item_ids,
        state.event_types.tolist(),
        [[f"{value:.12g}" for value in row] for row in state.sums.tolist()],
        state.last_ms.tolist(),
        state.basket_ms.tolist(),
    )


def states(log: EventLog) -> dict[str, tuple[object, ...]]:
    found = [
        one
        for shard in every_shard(log.num_shards)
        for one in every_state(log.scan(shard=shard), NOW, CATALOGUE, CONFIG, shard)
    ]
    assert len({user for user, _ in found}) == len(found)
    return {user: contents(state) for user, state in found}


def test_the_states_of_all_shards_are_those_of_the_whole_log(tmp_path: Path) -> None:
    whole, cut = shopping_log(tmp_path / "a" / "events"), shopping_log(tmp_path / "b" / "events", _COUNT)
    assert states(cut) == states(whole)


def test_histories_by_shard_are_those_of_all_users_at_once(tmp_path: Path) -> None:
    log = shopping_log(tmp_path / "events")
    cut = shopping_log(tmp_path / "cut" / "events", _COUNT)
    events, parts = log.scan(NOW).collect().lazy(), hand_made_parts()
    users = events.select(pl.col(USER_ID).unique().sort()).collect()
    queries = users.with_row_index(QUERY_ID).select(
        pl.col(QUERY_ID).cast(pl.Int64), USER_ID, pl.lit(NOW, pl.Int64).alias(AS_OF)
    )
    pairs = pair_frame(queries.height)
    [(at_once, moments)] = histories(events, queries, parts)
    expected, all_moments = log_matrix(at_once, pairs), dict(moments)
    num_met = 0
    for of_shard, its_moments in histories(
        events, queries, parts, [cut.scan(NOW, s) for s in every_shard(_COUNT)]
    ):
        mine = pairs[QUERY_ID].is_in(of_shard.queries[QUERY_ID].implode())
        found = log_matrix(of_shard, pairs.filter(mine))
        np.testing.assert_array_equal(as_ranker_input(found), as_ranker_input(expected[mine.to_numpy()]))
        for query_id, moment in its_moments:
            engagement = all_moments[query_id].user.engagement
            np.testing.assert_allclose(moment.user.engagement, engagement, rtol=1e-12)
            num_met += 1
    assert num_met == queries.height
