import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import polars as pl
import pytest
import structlog
import typer

from recsys.cli import build_app, configure_logging, run
from recsys.errors import ConfigError, DataError
from recsys.ingest import read_items
from recsys.progress import progress
from recsys.schema import EVENT_TIME, EVENT_TYPE, ITEM_ID, TITLE, USER_ID
from recsys.workspace import Workspace

HERE = __name__
greetings = typer.Typer(help="Greetings.")


def verb(name: str, target: str) -> EntryPoint:
    return EntryPoint(name, target, "recsys.commands")


def greet(name: str = "you") -> None:
    """Say hello."""
    typer.echo(f"hello {name}")


def fail() -> None:
    """Fail on purpose."""
    raise DataError("expected a cup, got a pan; bring a cup")


def fill_disk() -> None:
    raise OSError(28, "No space left on device", "file")


def interrupt() -> None:
    raise KeyboardInterrupt


def leave() -> None:
    raise typer.Exit(3)


def break_down() -> None:
    raise RuntimeError("a defect")


def warn() -> None:
    structlog.get_logger().info("told", n=1)
    structlog.get_logger().debug("whispered")


@greetings.command("hello")
def hello() -> None:
    """Say hello."""
    typer.echo("hello from below")


@greetings.command("bye")
def bye() -> None:
    """Say goodbye."""


FUNCTIONS = ["greet", "fail", "fill_disk", "interrupt", "leave", "break_down", "warn", "greetings"]
VERBS = [verb(name, f"{HERE}:{name}") for name in FUNCTIONS]
OURS = [verb("datasets", "recsys.commands:datasets"), verb("ingest", "recsys.commands:ingest")]
NOT_INSTALLED = verb("serve", "serving_that_is_not_there.commands:serve")


@pytest.fixture(autouse=True)
def _unconfigured_logging() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_a_function_is_a_command_and_an_app_is_a_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["greet", "--name", "ann"], VERBS) == 0
    assert run(["greetings", "hello"], VERBS) == 0
    assert capsys.readouterr().out == "hello ann\nhello from below\n"


def test_a_deliberate_error_is_one_line_on_stderr_and_exit_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fail"], VERBS) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: expected a cup, got a pan; bring a cup\n")


def test_an_error_of_the_machine_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fill_disk"], VERBS) == 1
    assert capsys.readouterr().err == "error: [Errno 28] No space left on device: 'file'\n"


def test_an_interrupt_is_one_line_and_exit_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["interrupt"], VERBS) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_verb_may_choose_its_exit_code_and_a_defect_is_not_hidden() -> None:
    assert run(["leave"], VERBS) == 3
    with pytest.raises(RuntimeError, match="a defect"):
        run(["break_down"], VERBS)


@pytest.mark.parametrize(
    "argv", [["greet", "--nome", "x"], ["greet", "extra"], ["great"], ["greetings", "hi"], ["--x"]]
)
def test_wrong_usage_is_exit_2_and_nothing_on_stdout(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(argv, VERBS) == 2
    assert capsys.readouterr().out == ""


def test_only_the_verb_that_is_asked_for_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["greet"], [*VERBS, NOT_INSTALLED]) == 0
    assert run(["--help"], [*VERBS, NOT_INSTALLED]) == 0
    assert "needs: pip install" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("entry", "extra"),
    [
        (verb("serve", "serving.not_there:serve"), "serving"),
        (verb("train", "training.not_there:train"), "training"),
        (verb("demo", "serving.not_there:demo"), "demo"),
        (NOT_INSTALLED, "dev"),
    ],
)
def test_a_verb_without_its_extra_says_what_to_install(
    entry: EntryPoint, extra: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([entry.name, "--port", "1", "x"], [entry]) == 1
    assert f"needs: pip install '.[{extra}]'" in capsys.readouterr().err


def test_logs_go_to_stderr_at_the_level_of_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECSYS_LOG_LEVEL", raising=False)
    run(["warn"], VERBS)
    out, err = capsys.readouterr()
    assert out == ""
    assert "told" in err
    assert "whispered" not in err
    monkeypatch.setenv("RECSYS_LOG_LEVEL", "debug")
    run(["warn"], VERBS)
    assert "whispered" in capsys.readouterr().err
    monkeypatch.setenv("RECSYS_LOG_LEVEL", "loud")
    assert run(["warn"], VERBS) == 1
    assert "RECSYS_LOG_LEVEL" in capsys.readouterr().err


def test_an_unknown_level_is_an_error_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match="'loud'"):
        configure_logging("loud")


def test_every_verb_of_the_engine_stands_in_the_overview(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(build_app(["--help"], OURS), typer.Typer)
    assert run(["--help"], OURS) == 0
    out = capsys.readouterr().out
    assert "datasets" in out
    assert "ingest" in out


def test_the_entry_points_of_the_project_name_these_verbs() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    named = project["entry-points"]["recsys.commands"]
    assert project["scripts"]["recsys"] == "recsys.cli:main"
    assert {entry.name: entry.value for entry in OURS}.items() <= named.items()


def test_finding_the_verbs_imports_none_of_the_heavy_libraries() -> None:
    heavy = "{'torch', 'grpc', 'polars', 'lightgbm', 'transformers'} & set(sys.modules)"
    code = f"import sys, recsys.cli, recsys.commands; sys.exit(str({heavy}) if {heavy} else 0)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def given(directory: Path) -> list[str]:
    items, events = directory / "items.csv", directory / "events.csv"
    pl.DataFrame({ITEM_ID: ["cup", "cup"], TITLE: ["Cup", "Mug"]}).write_csv(items)
    row = {EVENT_TYPE: "view", USER_ID: "ann", ITEM_ID: "cup", EVENT_TIME: "2024-05-01"}
    pl.DataFrame([row]).write_csv(events)
    return ["ingest", "--items", str(items), "--events", str(events), "--workspace", str(directory / "w")]


def test_ingest_prints_one_json_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*given(tmp_path), "--max-reject-share", "0.5", "--json"], OURS) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["items"]["rejected"] == 1
    assert document["events"]["accepted"] == 1
    assert read_items(Workspace(tmp_path / "w"))[TITLE].to_list() == ["Cup"]


def test_ingest_prints_a_table_with_the_reasons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*given(tmp_path), "--max-reject-share", "0.5"], OURS) == 0
    out = capsys.readouterr().out
    assert "items rejected: item_id came before in the same data (1)" in out


def test_too_many_bad_rows_and_another_format_fail_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = given(tmp_path)
    assert run(argv, OURS) == 1
    assert "error: nothing was published: 1 of 2 items were rejected" in capsys.readouterr().err
    assert run([*argv, "--format", "shop"], OURS) == 1
    expected = "error: format 'shop' is not supported, expected one of: recsys, metarank\n"
    assert capsys.readouterr().err == expected


def test_the_workspace_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECSYS_WORKSPACE", str(tmp_path / "from-environment"))
    assert run([*given(tmp_path)[:-2], "--max-reject-share", "0.5"], OURS) == 0
    assert capsys.readouterr().out
    assert (tmp_path / "from-environment" / "items").is_dir()


def test_data_sets_are_listed_and_an_unknown_one_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["datasets", "list", "--json"], OURS) == 0
    assert "complete-journey" in json.loads(capsys.readouterr().out)
    assert run(["datasets", "list"], OURS) == 0
    assert "complete-journey" in capsys.readouterr().out
    assert run(["datasets", "prepare", "other", "--output", str(tmp_path)], OURS) == 1
    expected = "there is no data set 'other', expected one of: complete-journey, ranklens, online-retail"
    assert capsys.readouterr().err == f"error: {expected}\n"


def test_progress_ends_in_one_line_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("counting [sheep]", 3) as advance:
        advance(1)
        advance(2)
    with progress("waiting"):
        pass
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.rpartition(":")[0] for line in err.splitlines()] == ["counting [sheep]", "waiting"]


def test_progress_of_work_that_failed_claims_no_end(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with progress("falling", 3):
            raise DataError("down")

    with pytest.raises(DataError):
        work()
    assert capsys.readouterr().err == ""


def test_programs_read_json_lines_and_people_read_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["warn"], VERBS) == 0  # not at a terminal
    [line] = capsys.readouterr().err.splitlines()
    assert json.loads(line).items() >= {"event": "told", "n": 1, "level": "info"}.items()
    monkeypatch.setenv("RECSYS_LOG_FORMAT", "console")
    assert run(["warn"], VERBS) == 0
    assert "[info" in capsys.readouterr().err
    monkeypatch.setenv("RECSYS_LOG_FORMAT", "xml")
    assert run(["warn"], VERBS) == 1
    assert "RECSYS_LOG_FORMAT" in capsys.readouterr().err


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_shows_no_local_variables(log_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", log_format)
    shopper = "alice"
    try:
        raise RuntimeError("a defect of the house")
    except RuntimeError:
        structlog.get_logger().exception("failed")
    shown = capsys.readouterr().err
    assert "a defect of the house" in shown
    assert "RuntimeError" in shown
    assert shopper not in shown
