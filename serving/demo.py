"""``recsys demo``: the whole line on real purchases, each stage the verb that a user would run."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.console import Console
from rich.table import Table

from recsys.errors import RecsysError
from recsys.event_log import EventLog
from recsys.ingest import read_items
from recsys.options import DEFAULT_WORKSPACE, WorkspaceOption
from recsys.schema import EFFECTIVE_TIME, ITEM_ID, TITLE, USER_ID
from recsys.v1 import recommendation_service_pb2 as pb
from recsys.workspace import Workspace
from serving.client import Client

DATASET = "complete-journey"
CUT = "2017-12-04T05:00:00Z"
"""The standard cut: the models see weeks 1-49, the evaluation weeks 50-53."""
_HOUSEHOLDS = ("1", "718", "2070")
_SHOWN = 8
LIGHTER = Path(__file__).with_name("demo.toml")
"""Settings that the demo trains with."""


def demo(
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Train with the workspace's recsys.toml or the defaults, not with the demo's settings.",
        ),
    ] = False,
    serve: Annotated[bool, typer.Option("--serve", help="Leave the server running at the end.")] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the server; 0 takes any free one.")
    ] = 50051,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Train on a year of real grocery purchases, serve the models, and ask them for recommendations."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop what was started, as on Ctrl-C
    console = Console()
    started = time.monotonic()
    place = Workspace(workspace)
    _train(console, place, full=full)
    with _server(place, port) as address:
        console.print(f"serve     ready on {address} in the log's own time (clock: replay)")
        _ask(console, place, address)
        console.print(f"everything took {time.monotonic() - started:.0f} s")
        if serve:
            console.print(_how_to_call(address), highlight=False, markup=False, soft_wrap=True)
            with suppress(KeyboardInterrupt):
                signal.pause()


def _train(console: Console, place: Workspace, *, full: bool) -> None:
    """From nothing to an evaluated bundle, with one line per stage."""
    source = place.root / "source"
    prepared = _verb("datasets", "prepare", DATASET, "--output", str(source))
    files = [f"--{name}={source / name}.parquet" for name in ("items", "events", "users")]
    taken = _verb("ingest", *files, place=place)
    _line(
        console,
        "ingest",
        prepared.seconds + taken.seconds,
        f"{taken.result['items']['read']:,} products, {taken.result['events']['read']:,} purchase lines",
    )
    lighter = () if full else ("--config", str(LIGHTER))
    trained = _verb("train", "--until", CUT, *lighter, place=place)
    seconds, details = trained.result["seconds"], trained.result["details"]
    losses = [loss for _, loss in details["encoder"]["curve"]]
    _line(
        console,
        "encoder",
        seconds["encoder"],
        f"{details['encoder']['texts']:,} texts, {details['encoder']['moments']:,} next baskets, "
        f"validation loss {losses[0]:.3f} -> {min(losses):.3f}",
    )
    rankers = details["rankers"]
    _line(
        console,
        "features",
        seconds["decisions"],
        f"{rankers['all']['rows']:,} rows in {rankers['all']['decisions']:,} lists of past decisions",
    )
    trees = ", ".join(f"{ranker['num_trees']} trees for {name} items" for name, ranker in rankers.items())
    _line(console, "rankers", seconds["ranker"], trees)
    _line(console, "bundle", seconds["bundle"], trained.result["version"])
    report_path = place.reports / "demo.json"
    evaluated = _verb("evaluate", "--output", str(report_path), place=place)
    _line(
        console,
        "evaluate",
        evaluated.seconds,
        f"{evaluated.result['num_users']:,} households, {CUT} to the end of the log",
    )
    console.print(_scores(evaluated.result))
    console.print(f"report    {report_path.with_suffix('.html')}", highlight=False, soft_wrap=True)


def _ask(console: Console, place: Workspace, address: str) -> None:
    """Ask the server for three households and one product page, and show the answers."""
    titles = dict(read_items(place).select(ITEM_ID, TITLE).iter_rows())
    log = EventLog(place.events)
    with Client(address, timeout_seconds=10) as client:
        for household in _HOUSEHOLDS:
            request = pb.RecommendRequest(user_id=household, page_size=_SHOWN, explain=True)
            answer = client.recommend(request)
            bought = _bought(log, household)
            console.print(_answer_table(f"household {household}", answer, titles, bought))
        page = _bought(log, _HOUSEHOLDS[0])[0][0]
        request = pb.RecommendRequest(
            placement="similar_items",
            user_id=_HOUSEHOLDS[0],
            context_item_ids=[page],
            page_size=_SHOWN,
            explain=True,
        )
        console.print(_answer_table(f"product page: {titles[page]}", client.recommend(request), titles, []))


def _bought(log: EventLog, household: str) -> list[tuple[str, int]]:
    """What a household bought most, and how often."""
    counts = (
        log.scan()
        .filter(pl.col(USER_ID) == household)
        .group_by(ITEM_ID)
        .agg(times=pl.len(), last=pl.col(EFFECTIVE_TIME).max())
        .sort("times", "last", ITEM_ID, descending=[True, True, False])
        .head(_SHOWN)
        .collect()
    )
    return list(counts.select(ITEM_ID, "times").iter_rows())


def _answer_table(
    title: str, answer: pb.RecommendResponse, titles: dict[str, str], bought: list[tuple[str, int]]
) -> Table:
    """An answer, next to what the household bought before."""
    table = Table("recommended", "score", "why", title=title, title_justify="left", expand=True)
    if bought:
        table.add_column("bought most before")
    for row, result in enumerate(answer.results):
        past = [f"{titles[bought[row][0]]} ({bought[row][1]}x)"] if row < len(bought) else []
        table.add_row(titles[result.item_id], f"{result.score:.2f}", "; ".join(result.reasons), *past)
    return table


def _scores(report: dict[str, Any]) -> Table:
    """NDCG@10 of the model and the baselines."""
    table = Table("NDCG@10", "everything bought", "first-time purchases")
    novel = report["slices"]["novel"]
    table.add_row("recsys", _interval(report["metrics"]["ndcg@10"]), _interval(novel["ndcg@10"]))
    for name, scores in report["baselines"].items():
        table.add_row(
            name.replace("_", " "), _interval(scores["ndcg@10"]), _interval(scores["novel"]["ndcg@10"])
        )
    return table


def _interval(metric: dict[str, float]) -> str:
    return f"{metric['value']:.4f} [{metric['low']:.4f}, {metric['high']:.4f}]"


def _line(console: Console, stage: str, seconds: float, what: str) -> None:
    console.print(f"{stage:9} {what}, {seconds:.1f} s", highlight=False, soft_wrap=True)


class _Finished:
    """A verb that ran: its JSON document and its wall time."""

    def __init__(self, result: dict[str, Any], seconds: float) -> None:
        self.result, self.seconds = result, seconds


def _verb(*arguments: str, place: Workspace | None = None) -> _Finished:
    """Run a verb as a child process with ``--json``; its progress bars show on our stderr."""
    command = [sys.executable, "-m", "recsys", *arguments, "--json", *_workspace(place)]
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            output, _ = process.communicate()
        except KeyboardInterrupt:
            process.wait()  # the terminal interrupted it too: it puts away what is half done
            raise
    if process.returncode != 0:
        raise RecsysError(
            f"`recsys {arguments[0]}` failed with exit code {process.returncode}; see its message above"
        )
    return _Finished(json.loads(output), time.monotonic() - started)


@contextmanager
def _server(place: Workspace, port: int) -> Iterator[str]:
    """Run ``recsys serve`` as a child process, its log in ``server.log``, and stop it at the end."""
    log = place.root / "server.log"
    command = [
        sys.executable,
        "-m",
        "recsys",
        "serve",
        "--clock",
        "replay",
        f"--port={port}",
        *_workspace(place),
    ]
    with (
        log.open("w", encoding="utf-8") as written,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=written, text=True) as process,
    ):
        try:
            lines = iter(process.stdout or ())
            address = next(lines, "").removeprefix("listening on ").strip()
            if not address or next(lines, "").strip() != "ready":
                raise RecsysError(f"the server did not start; its log, {log}, ends:\n{_end_of(log)}")
            yield address
        finally:
            process.terminate()


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8").splitlines()[-5:])


def _workspace(place: Workspace | None) -> list[str]:
    return ["--workspace", str(place.root)] if place is not None else []


def _how_to_call(address: str) -> str:
    return f"""
the server goes on, its log in server.log of the workspace; Ctrl-C stops it. Call it from Python:

    from recsys.v1.recommendation_service_pb2 import RecommendRequest
    from serving.client import Client

    with Client("{address}") as client:
        print(client.recommend(RecommendRequest(user_id="{_HOUSEHOLDS[0]}", page_size=5, explain=True)))
"""
