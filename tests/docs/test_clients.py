"""The clients of ``docs/clients.md`` are files, and they run against a real server."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.small_shop import VERSION

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "docs" / "clients"
MODULES = CLIENTS / "typescript" / "node_modules"
_INCLUDED = re.compile(r"^`(docs/clients/\S+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)

needs_node = pytest.mark.skipif(
    not MODULES.is_dir() or shutil.which("node") is None,
    reason="NOT RUN: needs node and `npm install` in docs/clients/typescript",
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_server(tmp_path_factory.mktemp("workspace")) as where:
        yield where


def printed(*command: str | Path, cwd: Path = ROOT) -> str:
    search = os.pathsep.join([str(MODULES / ".bin"), os.environ["PATH"]])
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PATH": search},
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_document_shows_the_files_that_are_tested() -> None:
    shown = dict(_INCLUDED.findall((ROOT / "docs" / "clients.md").read_text(encoding="utf-8")))
    assert len(shown) >= 5
    for name, text in shown.items():
        assert text == (ROOT / name).read_text(encoding="utf-8"), name


def test_the_blocking_client_prints_items_and_records_a_click(address: str) -> None:
    lines = printed(sys.executable, CLIENTS / "blocking.py", address, "ann").splitlines()
    assert lines[0] == "apples 0.00"
    assert lines[-1].strip() == "EVENT_STATUS_ACCEPTED"


def test_the_asynchronous_client_prints_a_page_for_every_item(address: str) -> None:
    lines = printed(sys.executable, CLIENTS / "asynchronous.py", address, "ben").splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("apples: ")


@needs_node
def test_the_generated_typescript_client_compiles_and_runs(address: str, tmp_path: Path) -> None:
    folder = tmp_path / "typescript"
    shutil.copytree(
        CLIENTS / "typescript", folder, ignore=shutil.ignore_patterns("node_modules", "gen", "dist")
    )
    (folder / "node_modules").symlink_to(MODULES)
    printed("buf", "generate", ROOT / "proto", cwd=folder)
    printed("tsc", cwd=folder)
    lines = printed("node", "dist/recommend.js", f"http://{address}", "cleo", cwd=folder).splitlines()
    assert lines[0] == "apples 0.00 own"
    assert lines[-2:] == [f"POPULAR {VERSION}", "ACCEPTED "]


@needs_node
def test_the_shell_needs_nothing_but_buf(address: str) -> None:
    answer = printed("sh", CLIENTS / "buf_curl.sh", f"http://{address}", "dora")
    assert '"itemId": "apples"' in answer
    assert '"SERVICE_LEVEL_POPULAR"' in answer
