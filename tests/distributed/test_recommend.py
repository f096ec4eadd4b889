"""Batches of lists that a cluster makes are those that this process makes."""

from functools import partial

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys.ray_runner import RayRunner
from serving.batch import recommend_in_shards, recommend_queries
from tests.conftest import Trained


@pytest.mark.usefixtures("cluster")
def test_two_nodes_make_the_lists_that_one_process_makes(trained: Trained) -> None:
    users = trained.shop.history["user_id"].unique(maintain_order=True).head(40)
    queries = pl.DataFrame({"user_id": users})
    answer = partial(recommend_queries, limit=5)
    here = answer(trained.workspace, queries).frame()
    there = recommend_in_shards(RayRunner(), trained.workspace, queries, answer).frame()
    assert_frame_equal(here, there, check_exact=True)
    assert there["user_id"].n_unique() == len(users)
