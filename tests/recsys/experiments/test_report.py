import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from recsys.errors import ConfigError, DataError
from recsys.event_log import EventLog
from recsys.experiments.auto_stop import stop_if_harmful
from recsys.experiments.commands import experiment
from recsys.experiments.exposures import read_exposures, scan_served_lists
from recsys.experiments.log_metrics import exposed_log
from recsys.experiments.look_book import read_looks
from recsys.experiments.registry import ExperimentRegistry
from recsys.experiments.report import report
from recsys.experiments.result import Result
from recsys.experiments.result_json import as_json
from recsys.schema import EVENT_SCHEMA, ITEM_SCHEMA, MERGE_SCHEMA, SERVED_LIST_SCHEMA
from recsys.tables import publish
from recsys.workspace import Workspace
from tests.recsys.experiments.small_experiment import toml

DEFINED = toml(top="").replace('value = "revenue"', 'value = "revenue"\ncovariate = "revenue_before"')
DAY = timedelta(days=1)
VISITOR_PREFIX = "\x1fvisitor:"
Event = tuple[str, str, datetime, float | None, float | None]
"""User, type, time, price, quantity."""


def write_events(workspace: Workspace, events: Sequence[Event], merges: pl.DataFrame | None = None) -> None:
    rows = [
        {
            "event_id": f"e{number}",
            "event_type": kind,
            "user_id": user,
            "item_id": "i",
            "event_time": time,
            "received_time": time,
            "price": price,
            "quantity": quantity,
        }
        for number, (user, kind, time, price, quantity) in enumerate(events)
    ]
    EventLog(workspace.events).append(pl.DataFrame(rows, schema=EVENT_SCHEMA), "all", merges=merges)


def write_lists(workspace: Workspace, lists: Sequence[tuple[str, str, datetime]]) -> None:
    rows = [
        {
            "list_id": str(number),
            "served_time": time,
            "subject": user,
            "arms": [{"experiment": "e", "arm": arm}],
            "forced": [],
            "server": "s",
            "server_sequence": number,
        }
        for number, (user, arm, time) in enumerate(lists, 1)
    ]
    folder = workspace.served_lists / "day=2026-03-01"
    folder.mkdir(parents=True)
    pl.DataFrame(rows, schema=SERVED_LIST_SCHEMA).write_parquet(folder / "lists.parquet")


def started(tmp_path: Path, definition: str = DEFINED) -> tuple[Workspace, datetime]:
    """A workspace with a running experiment, and a moment soon after its start."""
    workspace = Workspace(tmp_path)
    running = ExperimentRegistry(workspace).start(definition, "d.toml")
    return workspace, running.started.replace(microsecond=0) + timedelta(hours=1)


def shop(workspace: Workspace, start: datetime, *, users: int = 400, days: int = 4) -> None:
    """Users who buy for 10 a day, those of the treatment for 12; one was in both arms."""
    arms = ["control", "treatment"]
    lists = [(f"u{number}", arms[number % 2], start) for number in range(users)]
    lists += [("mixed", arm, start) for arm in arms]
    events: list[Event] = []
    for number in range(users):
        price = 10.0 + 2 * (number % 2) + number % 7
        events.append((f"u{number}", "purchase", start - DAY, 5.0 + number % 7, None))
        events += [
            (f"u{number}", "purchase", start + DAY * day + timedelta(hours=1), price, 1.0)
            for day in range(days)
        ]
    events.append(("nobody", "click", start + DAY * days, None, None))
    write_lists(workspace, lists)
    write_events(workspace, events)


def codes(result: Result) -> set[str]:
    return {problem.code for problem in result.problems}


def test_a_report_joins_exposures_with_what_followed(tmp_path: Path) -> None:
    workspace, start = started(tmp_path)
    shop(workspace, start)
    result = report(workspace, "e")
    assert result.units == {"control": 200, "treatment": 200}
    (comparison,) = result.metrics[0].comparisons
    assert comparison.absolute.estimate == pytest.approx(8.0, abs=0.2)  # 2 a day for 4 days
    assert comparison.std_error < 0.1  # what was bought before explains the rest
    assert result.judgement.verdict == "ship"
    assert codes(result) == {"mixed_arms"}
    assert [day.day for day in result.novelty] == [0, 1, 2, 3]
    assert all(day.lifts["treatment"].estimate == pytest.approx(2.0, abs=0.1) for day in result.novelty)
    assert len(result.over_time) == 1


def test_a_command_reports_as_json_and_as_a_page(tmp_path: Path) -> None:
    workspace, start = started(tmp_path / "w")
    shop(workspace, start)
    page = tmp_path / "page.html"
    words = ["report", "e", "--workspace", str(workspace.root), "--html", str(page)]
    done = CliRunner().invoke(experiment, [*words, "--json"], catch_exceptions=False)
    assert json.loads(done.stdout)["verdict"] == "ship"
    assert "Does it wear off?" in page.read_text(encoding="utf-8")
    assert "verdict: ship" in CliRunner().invoke(experiment, words, catch_exceptions=False).stdout


def test_units_with_an_open_window_wait(tmp_path: Path) -> None:
    workspace, start = started(tmp_path, DEFINED + "[analysis]\nwindow_days = 2.0\n")
    late = [(f"late{number}", "control", start + 3 * DAY) for number in range(50)]
    early = [(f"u{number}", ("control", "treatment")[number % 2], start) for number in range(100)]
    write_lists(workspace, early + late)
    events: list[Event] = [
        (f"u{number}", "purchase", start + DAY * day, 10.0 + number % 5, None)
        for number in range(100)
        for day in range(4)
    ]
    write_events(workspace, events)
    result = report(workspace, "e")
    assert result.units == {"control": 50, "treatment": 50}
    assert "open_windows" in codes(result)
    assert result.metrics[0].arms["control"].mean == pytest.approx(2 * 12.0)  # days 0 and 1


def windowed(tmp_path: Path) -> tuple[Workspace, datetime]:
    """Two arms of 50 with a window of 7 days, whose log of events ends on day 4."""
    workspace, start = started(tmp_path, DEFINED + "[analysis]\nwindow_days = 7.0\n")
    write_lists(workspace, [(f"u{i}", ("control", "treatment")[i % 2], start) for i in range(100)])
    bought: list[Event] = [
        (f"u{i}", "purchase", start + DAY * d, 10.0 + i % 5, None) for i in range(100) for d in range(5)
    ]
    write_events(workspace, bought)
    return workspace, start


def test_a_moment_beyond_the_data_closes_no_window_and_the_verdict_says_when_they_close(
    tmp_path: Path,
) -> None:
    workspace, start = windowed(tmp_path)
    for until in (None, start + 100 * DAY):
        result = report(workspace, "e", until)
        assert codes(result) == {"open_windows"}
        assert result.units == {"control": 0, "treatment": 0}
        assert result.judgement.verdict == "continue"
        assert f"windows close from {start + 7 * DAY:%Y-%m-%d %H:%M}" in result.judgement.reasons[0]


def test_lists_that_are_ahead_of_the_events_close_no_window(tmp_path: Path) -> None:
    workspace, start = windowed(tmp_path)
    path = workspace.served_lists / "day=2026-03-01" / "lists.parquet"
    lists = pl.read_parquet(path)
    later = lists.head(1).with_columns(served_time=pl.lit(start + 9 * DAY), server_sequence=pl.lit(101))
    pl.concat([lists, later.cast(lists.schema)]).write_parquet(path)
    assert codes(report(workspace, "e")) == {"open_windows"}
    result = report(workspace, "e", start + 8 * DAY)
    assert result.units == {"control": 0, "treatment": 0}
    assert as_json(result)["data_until"]["events"] == (start + 4 * DAY).isoformat()


def test_before_the_first_list_nothing_is_said_of_a_replay_clock(tmp_path: Path) -> None:
    workspace, start = started(tmp_path)
    write_events(workspace, [("u", "click", start - 2 * DAY, None, None)])
    with pytest.raises(DataError, match="nobody was exposed") as caught:
        report(workspace, "e")
    assert "replay clock" not in str(caught.value)


def test_a_moment_before_the_start_is_no_replay_clock(tmp_path: Path) -> None:
    workspace, start = started(tmp_path)
    shop(workspace, start)
    with pytest.raises(DataError, match="nobody was exposed") as caught:
        report(workspace, "e", start - 2 * DAY)
    assert "replay clock" not in str(caught.value)


def test_a_log_on_a_replay_clock_counts_as_a_whole_and_says_so(tmp_path: Path) -> None:
    workspace, start = started(tmp_path)
    shop(workspace, start - 1000 * DAY)
    result = report(workspace, "e")
    assert result.units == {"control": 200, "treatment": 200}
    assert "replay_clock" in codes(result)


def test_nobody_exposed_and_an_unknown_experiment_are_errors(tmp_path: Path) -> None:
    workspace, _ = started(tmp_path)
    with pytest.raises(DataError, match="nobody was exposed"):
        report(workspace, "e")
    with pytest.raises(ConfigError, match="no experiment 'other'"):
        report(workspace, "other")


def test_a_report_says_how_far_the_logs_reach(tmp_path: Path) -> None:
    workspace, start = started(tmp_path / "w")
    shop(workspace, start)
    result = report(workspace, "e")
    assert result.reach is not None
    assert (result.reach.lists, result.reach.events) == (start, start + 4 * DAY)
    words = ["report", "e", "--workspace", str(workspace.root)]
    shown = CliRunner().invoke(experiment, words, catch_exceptions=False).stdout
    assert f"data up to (UTC): lists {start:%Y-%m-%d %H:%M:%S}, events" in shown
    assert as_json(result)["data_until"] == {
        "lists": start.isoformat(),
        "events": (start + 4 * DAY).isoformat(),
    }


def test_a_report_is_a_look_and_the_same_log_read_again_is_none(tmp_path: Path) -> None:
    workspace, start = started(tmp_path)
    shop(workspace, start)
    assert [len(report(workspace, "e").reading.past or ()) for _ in range(2)] == [1, 1]
    assert "more data do not change it" in report(workspace, "e").judgement.reasons[1]
    assert len(read_looks(ExperimentRegistry(workspace).looks("e", 1))) == 1


def test_revenue_in_several_currencies_blocks(tmp_path: Path) -> None:
    workspace, start = started(tmp_path)
    shop(workspace, start)
    items = [{"item_id": i, "title": i, "currency": name} for i, name in (("i", "EUR"), ("j", "USD"))]
    publish(workspace.items, pl.DataFrame(items, schema=ITEM_SCHEMA))
    assert "mixed_currencies" not in codes(report(workspace, "e"))
    abroad = {"event_id": "x", "event_type": "purchase", "user_id": "u1", "item_id": "j", "price": 3.0}
    times = {"event_time": start + DAY, "received_time": start + DAY}
    EventLog(workspace.events).append(pl.DataFrame([abroad | times], schema=EVENT_SCHEMA), "more")
    result = report(workspace, "e")
    (problem,) = (each for each in result.problems if each.code == "mixed_currencies")
    assert (problem.severity, problem.metric) == ("blocking", "revenue")
    assert "EUR 1,600, USD 1" in problem.message
    assert result.judgement.verdict == "blocked"


def test_logins_on_a_second_device_do_not_block_and_count_for_the_first_arm(tmp_path: Path) -> None:
    workspace, start = started(tmp_path)
    arms, hour = ["control", "treatment"], timedelta(hours=1)
    lists = [(f"u{number}", arms[number % 2], start) for number in range(400)]
    lists += [(f"phone{number}", arms[(number + 1) % 2], start + hour) for number in range(20)]
    events: list[Event] = [
        (f"u{number}", "purchase", start + 2 * hour, 10.0 + 2 * (number % 2) + number % 7, 1.0)
        for number in range(400)
    ]
    logins = [(f"phone{number}", f"u{number}", start + 3 * hour) for number in range(20)]
    write_lists(workspace, [(user.replace("phone", VISITOR_PREFIX), arm, time) for user, arm, time in lists])
    merges = [(user.replace("phone", VISITOR_PREFIX), *login) for user, *login in logins]
    write_events(workspace, events, pl.DataFrame(merges, schema=MERGE_SCHEMA, orient="row"))
    result = report(workspace, "e")
    assert result.units == {"control": 200, "treatment": 200}
    assert codes(result) == {"crossed_arms"}
    assert "20 units (5.00%)" in result.problems[0].message
    assert result.judgement.verdict == "ship"


def test_columns_of_the_log_are_counts_sums_and_what_was_before(tmp_path: Path) -> None:
    workspace, start = Workspace(tmp_path), datetime.fromisoformat("2026-03-01T12:00:00+00:00")
    merges = pl.DataFrame([("visitor", "a", start + DAY)], schema=MERGE_SCHEMA, orient="row")
    hour = timedelta(hours=1)
    write_events(
        workspace,
        [
            ("a", "purchase", start - hour, 3.0, 2.0),
            ("a", "purchase", start - 40 * DAY, 99.0, 1.0),
            ("a", "impression", start, None, None),
            ("visitor", "click", start + hour, None, None),
            ("a", "purchase", start + 2 * hour, 5.0, None),
            ("a", "purchase", start + 2 * hour, 7.0, 2.0),
            ("a", "purchase", start + 3 * DAY, 11.0, 1.0),
            ("stranger", "purchase", start + hour, 1000.0, 1.0),
        ],
        merges,
    )
    units = pl.DataFrame(
        [("a", "treatment", start), ("b", "control", start)],
        schema={"unit_id": pl.String, "arm": pl.String, "first_exposure": pl.Datetime("ms", "UTC")},
        orient="row",
    )
    log = exposed_log(EventLog(workspace.events).scan(), units, start + 10 * DAY, merges)
    nobody, found = log.metrics(end=2 * DAY).rows(named=True)
    assert (found["impressions"], found["clicks"], found["purchases"], found["orders"]) == (1, 1, 2, 1)
    assert (found["revenue"], found["converted"]) == (19.0, 1.0)
    assert (found["revenue_before"], found["purchases_before"], found["clicks_before"]) == (6.0, 1.0, 0.0)
    assert nobody["unit_id"] == "b"
    assert (
        sum(value for name, value in nobody.items() if name not in {"unit_id", "arm", "exposure_time"}) == 0
    )


def test_what_is_bought_after_logging_out_counts_for_whom_the_lists_then_count_for(tmp_path: Path) -> None:
    workspace, start = started(tmp_path)
    visitor, hour = f"{VISITOR_PREFIX}v", timedelta(hours=1)
    logins = [(visitor, "a", start + 5 * hour), (visitor, "b", start + 10 * hour)]
    merges = pl.DataFrame(logins, schema=MERGE_SCHEMA, orient="row")
    write_lists(workspace, [(visitor, "control", start + each * hour) for each in (4, 8, 12)])
    bought = [(visitor, "purchase", start + each * hour, 1.0, 1.0) for each in (4, 7, 9, 13)]
    write_events(workspace, bought, merges)
    log = EventLog(workspace.events)
    units = read_exposures(scan_served_lists(workspace), "e", merges=log.merges()).units
    counted = exposed_log(log.scan(), units, start + DAY, log.merges()).metrics()
    assert units.select("unit_id", "num_lists").rows() == [("a", 2), ("b", 1)]
    assert counted.select("unit_id", "purchases").rows() == [("a", 3.0), ("b", 1.0)]


def test_harm_ends_an_experiment_when_asked_to_and_is_recorded(tmp_path: Path) -> None:
    workspace, start = started(
        tmp_path,
        DEFINED
        + '[[metrics]]\nname = "spent"\nrole = "guardrail"\nvalue = "revenue"\ndirection = "decrease"\n',
    )
    shop(workspace, start)
    words = ["report", "e", "--workspace", str(workspace.root), "--json"]
    watched = CliRunner().invoke(experiment, words, catch_exceptions=False)
    assert json.loads(watched.stdout)["verdict"] == "stop"
    registry = ExperimentRegistry(workspace)
    assert registry.find("e").is_running
    ended = CliRunner().invoke(experiment, [*words, "--auto-stop"], catch_exceptions=False)
    assert "guardrail spent is breached in treatment" in ended.stderr
    assert not registry.find("e").is_running
    assert (registry.audit()[-1].action, registry.audit()[-1].by) == ("stop", "auto-stop")


def test_an_arm_that_falls_back_ends_an_experiment_too(tmp_path: Path) -> None:
    workspace, start = started(tmp_path)
    shop(workspace, start, users=600)
    path = workspace.served_lists / "day=2026-03-01" / "lists.parquet"
    fallen = pl.when(pl.col("arms").list.first().struct.field("arm") == "treatment").then(pl.lit("POPULAR"))
    pl.read_parquet(path).with_columns(service_level=fallen.otherwise(pl.lit("FULL"))).write_parquet(path)
    result = report(workspace, "e")
    assert "worse_service" in codes(result)
    assert [arm["degraded"] for arm in as_json(result)["service"]] == [0.0, 1.0]
    reason = stop_if_harmful(ExperimentRegistry(workspace), result)
    assert reason == "treatment has 100.0% degraded lists, control 0.0%"


def test_what_is_not_harmful_goes_on(tmp_path: Path) -> None:
    workspace, start = started(tmp_path)
    shop(workspace, start)
    assert stop_if_harmful(ExperimentRegistry(workspace), report(workspace, "e")) is None
