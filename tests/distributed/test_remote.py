"""Machines that share nothing but a bucket of a real server, S3's or Azure's; every command is a process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from recsys.damaged_files import DamagedFiles
from recsys.fault_point import EXIT_CODE
from recsys.log_shards import reshard
from recsys.manifest import read_manifest, verify_files
from recsys.remote.objects import Objects
from recsys.remote.opening import open_objects
from recsys.remote.prune import prune
from recsys.remote.pull import pull
from recsys.remote.push import push
from recsys.user_shard import UserShard, shard_number
from tests.distributed.azure_server import AzureServer, azure_server
from tests.distributed.s3_server import BUCKET, S3Server, s3_server
from tests.recsys.remote.shops import Shop, everything

_NUM_MACHINES = 4


@dataclass
class Bucket:
    """A prefix of the server's bucket that nobody used before."""

    server: S3Server | AzureServer
    prefix: str
    name: str = BUCKET

    @property
    def url(self) -> str:
        return f"{self.server.scheme}://{self.name}/{self.prefix}"

    def start(self, shop: Shop, *words: str, fault: str = "") -> "subprocess.Popen[str]":
        environment = os.environ | self.server.environment | {"RECSYS_FAULT": fault, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "recsys",
                "remote",
                *words,
                self.url,
                "--workspace",
                str(shop.workspace.root),
            ],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, shop: Shop, *words: str, fault: str = "", code: int = 0) -> str:
        process = self.start(shop, *words, fault=fault)
        said, _ = process.communicate(timeout=120)
        assert process.returncode == code, said
        assert self.server.secret not in said
        return said


@pytest.fixture(scope="module", params=[s3_server, azure_server], ids=["s3", "azure"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[S3Server | AzureServer]:
    with request.param(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture
def bucket(
    server: S3Server | AzureServer, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Bucket:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return Bucket(server, f"tests/{request.node.name}")


def in_clear(objects: Objects) -> bytes:
    """All that lies in a store, tables as text."""
    tables = [
        pl.read_parquet(objects.read(name)).write_csv().encode()
        for name in objects.list("data")
        if ".parquet/" in name
    ]
    return b"\n".join([*tables, everything(objects)])


def test_a_model_goes_from_a_machine_that_trains_to_one_that_serves(bucket: Bucket, tmp_path: Path) -> None:
    intake, trainer, server = (Shop(tmp_path / name) for name in ("intake", "trainer", "server"))
    intake.buy("a", ("e1", "ann"), ("e2", "bob"))
    intake.offer("hat")
    bucket.run(intake, "push")
    bucket.run(trainer, "pull", "--only", "data")
    assert trainer.bought() == {"e1", "e2"}
    trainer.train("v1")
    bucket.run(trainer, "push")
    bucket.run(server, "pull", "--only", "models", "--pointed")
    assert server.registry.pointers().stable == "v1"
    verify_files(server.registry.path("v1"), read_manifest(server.registry.path("v1")))
    assert server.log.names() == []


def test_who_is_erased_and_pushed_is_nowhere_in_the_bucket(bucket: Bucket, tmp_path: Path) -> None:
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")
    objects = open_objects(bucket.url)
    one.buy("a", ("e1", "ann-the-erased"), ("e2", "bob"))
    bucket.run(one, "push")
    bucket.run(other, "pull")
    other.buy("b", ("e3", "ann-the-erased"), ("e4", "bob"))
    bucket.run(other, "push")
    assert b"ann-the-erased" in in_clear(objects)
    bucket.run(one, "pull")
    one.erase("ann-the-erased")
    bucket.run(one, "push")
    assert b"ann-the-erased" not in in_clear(objects)
    bucket.run(other, "push")  # which has her still, and had not heard
    assert b"ann-the-erased" not in in_clear(objects)
    bucket.run(other, "pull")
    assert other.bought() == one.bought() == {"e2", "e4"}


@pytest.mark.parametrize(
    "fault",
    ["remote-uploaded:1", "remote-uploaded:5", "remote-sent:1", "remote-published:1", "remote-removed:1"],
)
def test_a_push_that_is_killed_is_seen_whole_or_not_at_all(
    bucket: Bucket, tmp_path: Path, fault: str
) -> None:
    one, reader = Shop(tmp_path / "one"), Shop(tmp_path / "reader")
    objects = open_objects(bucket.url)
    one.buy("a", ("e1", "ann-the-erased"), ("e2", "bob"))
    one.train("v1")
    push(one.workspace, objects)
    one.buy("b", ("e3", "bob"))
    one.erase("ann-the-erased")
    one.train("v2")
    bucket.run(one, "push", fault=fault, code=EXIT_CODE)
    pull(reader.workspace, objects)
    is_new = fault.startswith(("remote-published", "remote-removed"))
    assert reader.bought() == ({"e2", "e3"} if is_new else {"e1", "e2"})
    assert reader.registry.pointers().stable == ("v2" if is_new else "v1")
    bucket.run(one, "push")
    bucket.run(reader, "pull")
    assert reader.bought() == {"e2", "e3"}
    assert reader.registry.pointers().stable == "v2"
    assert b"ann-the-erased" not in in_clear(objects)


@pytest.mark.parametrize(
    "fault", ["remote-people:1", "remote-downloaded:3", "remote-fetched:1", "log-moved:1", "remote-placed:1"]
)
def test_a_pull_that_is_killed_leaves_what_can_be_read(bucket: Bucket, tmp_path: Path, fault: str) -> None:
    one, reader = Shop(tmp_path / "one"), Shop(tmp_path / "reader")
    objects = open_objects(bucket.url)
    one.buy("a", ("e1", "ann"), ("e2", "bob"))
    one.train("v1")
    push(one.workspace, objects)
    pull(reader.workspace, objects)
    one.buy("b", ("e3", "bob"))
    one.erase("ann")
    one.train("v2")
    push(one.workspace, objects)
    bucket.run(reader, "pull", fault=fault, code=EXIT_CODE)
    assert {"e2"} <= reader.bought() <= {"e2", "e3"}
    assert DamagedFiles(reader.log.path).find() == []
    stable = reader.registry.stable()
    verify_files(stable, read_manifest(stable))
    bucket.run(reader, "pull")
    assert reader.bought() == {"e2", "e3"}
    assert reader.registry.pointers().stable == "v2"


def test_of_many_pushes_at_once_nothing_is_lost_and_one_moves_the_pointers(
    bucket: Bucket, tmp_path: Path
) -> None:
    machines = [Shop(tmp_path / str(number)) for number in range(_NUM_MACHINES)]
    for number, shop in enumerate(machines):
        shop.buy(f"append-{number}", (f"e{number}", "ann"))
        shop.train(f"v{number}")
    running = [bucket.start(shop, "push") for shop in machines]
    said = [process.communicate(timeout=120)[0] for process in running]
    codes = [process.returncode for process in running]
    assert sorted(codes) == [0, *[1] * (_NUM_MACHINES - 1)], said
    assert all(
        f"pointers: take the store's with: recsys remote pull {bucket.url} --theirs" in text
        for text, code in zip(said, codes, strict=True)
        if code
    )
    reader = Shop(tmp_path / "reader")
    bucket.run(reader, "pull")
    assert reader.bought() == {f"e{number}" for number in range(_NUM_MACHINES)}
    versions = {entry.version for entry in reader.registry.entries()}
    assert versions == {f"v{number}" for number in range(_NUM_MACHINES)}
    assert reader.registry.pointers().stable == f"v{codes.index(0)}"


def test_a_shard_of_the_users_takes_a_shard_of_the_bytes(bucket: Bucket, tmp_path: Path) -> None:
    one = Shop(tmp_path / "one")
    reshard(one.log.path, 4)
    users = [str(number) for number in range(400)]
    one.buy("a", *((f"e{user}", user) for user in users))
    bucket.run(one, "push")
    held: set[str] = set()
    for number in range(4):
        machine = Shop(tmp_path / f"shard-{number}")
        bucket.run(machine, "pull", "--shard", f"{number}/4")
        assert machine.bought() == {f"e{user}" for user in users if shard_number(user, 4) == number}
        assert set(machine.log.scan(shard=UserShard(number, 4)).collect()["event_id"]) == machine.bought()
        held |= machine.bought()
    assert held == one.bought()


def test_what_is_wrong_with_a_store_is_said_in_words(bucket: Bucket, tmp_path: Path) -> None:
    shop = Shop(tmp_path / "one")
    assert "nothing was pushed to" in bucket.run(shop, "pull", code=1)
    elsewhere = Bucket(bucket.server, "x", name="there-is-none")
    assert "there is no such bucket" in elsewhere.run(shop, "pull", code=1)
    away = Bucket(replace(bucket.server, endpoint="http://127.0.0.1:1"), "x")
    assert "the store cannot be reached" in away.run(shop, "push", code=1)


def test_credentials_that_the_store_does_not_know_are_refused_in_words(
    server: S3Server | AzureServer, bucket: Bucket, tmp_path: Path
) -> None:
    shop = Shop(tmp_path / "one")
    shop.train("v1")
    with server.refusing():
        assert "the store refuses these credentials" in bucket.run(shop, "push", code=1)
    bucket.run(shop, "push")


def test_a_model_that_was_pruned_is_nowhere_in_the_bucket(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.remote.prune.LEAST_AGE", timedelta())
    shop, objects = Shop(tmp_path / "one"), open_objects(bucket.url)
    for version in ("v1", "v2", "v3"):
        shop.train(version)
    bucket.run(shop, "push")
    found = prune(objects, keep=1, min_age=timedelta(), is_meant=True)
    assert [model.version for model in found.models] == ["v1"]
    assert not objects.list("data/registry/bundles/v1")
    reader = Shop(tmp_path / "reader")
    bucket.run(reader, "pull")
    assert {entry.version for entry in reader.registry.entries()} == {"v2", "v3"}
