"""What the tests of faults share: a trained shop to copy, processes that start fast, and figures."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from recsys.workspace import Workspace
from tests.conftest import Trained
from tests.faults.figures import Figure, note
from tests.faults.processes import Forge, ServerProcess, server_process

Serve = Callable[..., AbstractContextManager[ServerProcess]]
"""``server_process`` with a forge: called with a workspace, a directory, flags and environment variables."""
Note = Callable[[str, str, float, str, str], None]


@pytest.fixture
def figure() -> Note:
    """``figure("T8", "added latency", 3.1, "ms", "<= 5")`` keeps a measured number for the table."""

    def keep(test: str, what: str, value: float, unit: str, bar: str = "") -> None:
        note(Figure(test, what, round(float(value), 3), unit, bar))

    return keep


@pytest.fixture(scope="session")
def forge() -> Iterator[Forge]:
    """Forks servers."""
    running = Forge()
    yield running
    running.close()


@pytest.fixture(scope="session")
def serve(forge: Forge) -> Serve:
    """Starts servers without their imports; to be used as a context manager."""
    return partial(server_process, forge=forge)


@pytest.fixture
def shop(trained: Trained, tmp_path: Path) -> Workspace:
    """A copy of the trained shop for one test."""
    return copy_of(trained.workspace, tmp_path)


def copy_of(workspace: Workspace, directory: Path) -> Workspace:
    """A workspace to do harm to."""
    return Workspace(Path(shutil.copytree(workspace.root, directory / "workspace")))
