"""The clients of ``docs/clients.md`` are files, and they run against a real server."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.message import Message

from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.small_shop import VERSION

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "docs" / "clients"
MODULES = CLIENTS / "typescript" / "node_modules"
_INCLUDED = re.compile(r"^`(docs/clients/\S+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)

_FLAGS = {"-plaintext": 0, "-import-path": 1, "-proto": 1, "-max-time": 1, "-H": 1, "-d": 1}
"""Flags of ``grpcurl`` 1.8 that the script may use, with the number of their values."""

_STAND_IN = r"""#!/bin/sh
for word; do printf "%s\0" "$word"; done; printf "\n\0"
"""
"""Prints its arguments, each with a zero byte behind it, and then an empty line with one."""

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
    assert len(shown) >= 6
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


def test_the_client_of_blurbs_prints_a_line_for_every_item(address: str) -> None:
    """A line comes late, or with the next call, while the gate has not judged it yet."""
    until, told = time.monotonic() + PATIENCE_SECONDS, {"apples": ""}
    while not all(told.values()) and time.monotonic() < until:
        lines = printed(sys.executable, CLIENTS / "blurbs.py", address, "gus").splitlines()
        told = dict(line.split(": ", 1) for line in lines)
        assert len(told) == 5
    assert told["apples"] == "size: 1 kg"
    assert all(told.values())


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


@pytest.mark.skipif(shutil.which("grpcurl") is None, reason="NOT RUN: needs grpcurl")
def test_the_script_runs_with_grpcurl(address: str) -> None:
    assert_answers(documents(printed("sh", CLIENTS / "grpcurl.sh", address, "ella")))


def test_what_the_script_hands_to_grpcurl_is_right(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = tmp_path / "grpcurl"
    stand_in.write_text(_STAND_IN, encoding="utf-8")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))
    calls = printed("sh", CLIENTS / "grpcurl.sh", address, "finn").split("\n\0")[:-1]
    assert_answers([answered(call.removesuffix("\0").split("\0")) for call in calls])


def answered(arguments: list[str]) -> dict[str, Any]:
    """What a server says to a call of ``grpcurl``, as JSON."""
    flags, rest = {}, iter(arguments)
    for word in rest:
        if not word.startswith("-"):
            break
        flags[word] = [next(rest) for _ in range(_FLAGS[word])]
    server, path = word, next(rest)
    assert list(rest) == []
    assert float(flags["-max-time"][0]) > 0
    name, value = flags["-H"][0].split(": ", 1)
    [file], [folder] = flags["-proto"], flags["-import-path"]
    assert (ROOT / folder / file).is_file()
    generated = import_module(file.removesuffix(".proto").replace("/", ".") + "_pb2")
    service, called = path.split("/")
    method = generated.DESCRIPTOR.services_by_name[service.removeprefix("recsys.v1.")].methods_by_name[called]
    request = json_format.Parse(flags["-d"][0], message_factory.GetMessageClass(method.input_type)())
    with grpc.insecure_channel(server) as channel:
        call: grpc.UnaryUnaryMultiCallable[Message, Message] = channel.unary_unary(
            f"/{path}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )
        answer = call(request, timeout=PATIENCE_SECONDS, metadata=((name, value),))
    return json_format.MessageToDict(answer)


def documents(text: str) -> list[dict[str, Any]]:
    """JSON documents that stand one after the other."""
    found, at = [], 0
    while at < len(text.rstrip()):
        document, at = json.JSONDecoder().raw_decode(text, at + len(text[at:]) - len(text[at:].lstrip()))
        found.append(document)
    return found


def assert_answers(answers: list[dict[str, Any]]) -> None:
    recommended, ranked, recorded, put = answers
    assert [result["itemId"] for result in recommended["results"]] == ["apples", "bread", "cheese"]
    assert recommended["results"][0]["item"]["title"] == "Apples"
    assert {result["itemId"] for result in ranked["results"]} == {"bread", "eggs"}
    assert [result["status"] for result in recorded["results"]] == ["EVENT_STATUS_ACCEPTED"]
    assert [result["status"] for result in put["results"]] == ["ITEM_STATUS_ACCEPTED"]
