"""Tests of the store that the server brings along."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import redis

from recsys.errors import StoreError
from serving.embedded_store import embedded_store
from tests.serving.running import PATIENCE_SECONDS

OWNER = """
import sys, threading, time
from serving.embedded_store import embedded_store
def own():
    store = embedded_store()
    stores.append(store)
    print(store.__enter__(), flush=True)
stores = []
thread = threading.Thread(target=own)
thread.start()
thread.join()
sys.stdin.read()
"""


def answers(url: str) -> bool:
    with redis.Redis.from_url(url, socket_timeout=1.0) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


def test_it_listens_on_a_private_socket_only_and_saves_nothing() -> None:
    with embedded_store() as url, redis.Redis.from_url(url) as client:
        client.set("k", "v")
        assert client.get("k") == b"v"
        assert client.config_get("port") == {"port": "0"}
        assert client.config_get("save") == {"save": ""}
        socket = Path(url.removeprefix("unix://"))
        assert socket.stat().st_mode & 0o077 == 0
    assert not answers(url)
    assert not socket.parent.exists()


def test_it_outlives_the_thread_that_started_it_and_dies_with_the_process() -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()
        assert answers(url)
        owner.kill()
        owner.wait()
        until = time.monotonic() + PATIENCE_SECONDS
        while answers(url):
            assert time.monotonic() < until, "the store outlived its owner"
            time.sleep(0.02)
    assert not Path(url.removeprefix("unix://")).parent.exists()


def test_a_terminal_interrupt_does_not_reach_it() -> None:
    with embedded_store() as url, redis.Redis.from_url(url) as client:
        server = int(client.info("server")["process_id"])
        assert os.getpgid(server) != os.getpgid(0)
        assert os.getpgid(server) == server


def test_two_of_them_do_not_meet() -> None:
    with embedded_store() as one, embedded_store() as two:
        assert one != two
        assert answers(one)
        assert answers(two)


def test_a_temporary_directory_with_a_long_name_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with pytest.raises(StoreError, match="TMPDIR"), embedded_store():
        pass


def test_when_it_was_killed_the_block_still_ends() -> None:
    with embedded_store() as url, redis.Redis.from_url(url) as client:
        server = int(client.info("server")["process_id"])
        os.kill(server, signal.SIGKILL)
        assert not answers(url)
