import re
from pathlib import Path

import pytest

from recsys.errors import DataError
from recsys.log_presence import require_events
from recsys.remote.opening import open_objects
from recsys.remote.pull import pull
from recsys.remote.push import push
from tests.recsys.remote.shops import Shop


def test_a_machine_that_pulled_models_alone_is_told_what_to_pull(tmp_path: Path) -> None:
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")
    with pytest.raises(DataError, match=r"events holds no events, .* recsys remote pull URL --only data"):
        require_events(other.workspace)
    url = f"file://{tmp_path}/store"
    one.buy("a", ("e1", "ann"))
    one.train("v1")
    push(one.workspace, open_objects(url))
    pull(other.workspace, open_objects(url), parts=["models"])
    told = f"pulled models alone; bring them with: recsys remote pull {url} --only data --workspace"
    with pytest.raises(DataError, match=re.escape(told)):
        require_events(other.workspace)
    pull(other.workspace, open_objects(url))
    require_events(other.workspace)
