import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.runner import LocalRunner, even_parts, runner


@given(st.integers(0, 1000), st.integers(1, 50))
def test_parts_are_even_and_cover_everything_once(length: int, num_parts: int) -> None:
    parts = [range(length)[part] for part in even_parts(length, num_parts)]
    assert [i for part in parts for i in part] == list(range(length))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert length == 0 or min(map(len, parts)) > 0


@pytest.mark.parametrize("shards", [["a"], ["a", "bb", "ccc"]])
def test_results_come_in_the_order_of_the_shards(shards: list[str]) -> None:
    assert LocalRunner().run(len, shards, "counting") == [len(shard) for shard in shards]


def test_one_machine_never_imports_ray() -> None:
    """Not even where it is installed."""
    code = (
        "import sys; import recsys.cli, training.recipe, serving.batch, serving.bootstrap; "
        "from recsys.runner import runner; runner('local'); assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert isinstance(runner("local"), LocalRunner)
