"""Evaluates a bundle on what happened after its data ended, against baselines that got the same care."""

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from features.registry import fingerprint
from recsys.bundle import Bundle, load_bundle
from recsys.errors import DataError, LeakageError
from recsys.event_log import EventLog
from recsys.manifest import read_manifest
from recsys.metrics import recall_at
from recsys.registry import Registry
from recsys.schema import DAY_MS, EFFECTIVE_TIME, EVENT_TYPE, ITEM_ID, USER_ID
from recsys.timestamps import iso
from recsys.workspace import Workspace, atomic_path
from training import baselines
from training.ablations import ranked_by_variants
from training.hold_out import hold_out
from training.recipe import train
from training.report import BaselineLists, EvaluationInput, evaluate_lists
from training.report_page import write_report
from training.strategies import found_by_strategies
from training.window_lists import DEPTH, RECALL_DEPTH, WindowLists, WindowUsers


@dataclass(frozen=True)
class Evaluated:
    """A finished evaluation."""

    report: dict[str, Any]
    """Ready for JSON."""
    html_path: Path


def evaluate(
    workspace: Workspace,
    *,
    version: str | None = None,
    test_from_ms: int | None = None,
    test_to_ms: int | None = None,
    json_path: Path | None = None,
    html_path: Path | None = None,
    dataset: str = "workspace",
    baseline_names: Sequence[str] = baselines.CHEAP,
    ablations: bool = False,
    strategies: bool = False,
    hold_out_share: float | None = None,
) -> Evaluated:
    """Rank for every user of the test window as of its start, and write the report.

    With ``hold_out_share``, the report is on a model that is trained anew with the bundle's settings until
    the start of the test window, without what happened to the items that came last; see
    ``training.hold_out``. It is deleted afterwards.

    Args:
        workspace: The workspace.
        version: The bundle; the registry's ``stable`` when absent.
        test_from_ms: Start of the test window, milliseconds since the epoch; the end of the bundle's data
            when absent.
        test_to_ms: Its end, exclusive; the end of the log when absent.
        json_path: Where the JSON report goes besides ``reports/<version>.json`` of the workspace.
        html_path: Where its HTML twin goes; ``reports/<version>.html`` of the workspace when absent, or
            ``<version>-held-out.html``.
        dataset: Name of the data in the report.
        baseline_names: What to compare with: some of ``training.baselines.ALL``.
        ablations: Whether to train the variants of ``training.ablations`` too, each about as long as the
            bundle took.
        strategies: Whether to train the encoder by every strategy too, see ``training.strategies``.
        hold_out_share: Share of the catalogue to train without, between 0 and 1; ``None`` for the bundle.

    Raises:
        LeakageError: The bundle was fitted beyond the start of the test window.
        DataError: Nobody chose anything in the test window, or no item can be held out.
    """
    registry = Registry(workspace.registry)
    directory = registry.path(version) if version is not None else registry.stable()
    bundle = load_bundle(directory, fingerprint(read_manifest(directory).config.state))
    fitted_until_ms = bundle.manifest.fitted_until_ms
    start_ms = fitted_until_ms if test_from_ms is None else test_from_ms
    if fitted_until_ms > start_ms:
        raise LeakageError(
            f"bundle {bundle.manifest.version} was fitted on events until "
            f"{bundle.manifest.fitted_until:%Y-%m-%dT%H:%M:%SZ}, beyond the start of the test window; "
            "train with an earlier --until or test later"
        )
    with _lacking(workspace, bundle, hold_out_share, start_ms) as (lacking, held_out):
        run = _Evaluation(*lacking, start_ms=start_ms, to_ms=test_to_ms, dataset=dataset)
        evaluation = run.input(baseline_names, ablations=ablations, strategies=strategies, held_out=held_out)
    report = evaluate_lists(evaluation, seed=bundle.manifest.config.seed)
    name = bundle.manifest.version if hold_out_share is None else f"{bundle.manifest.version}-held-out"
    target = html_path if html_path is not None else workspace.reports / f"{name}.html"
    stored = workspace.reports / f"{name}.json"
    write_report(report, evaluation, stored, target)
    if json_path is not None and json_path != stored:
        with atomic_path(json_path) as partial:
            partial.write_bytes(stored.read_bytes())
    return Evaluated(report, target)


@contextmanager
def _lacking(
    workspace: Workspace, bundle: Bundle, share: float | None, start_ms: int
) -> Iterator[tuple[tuple[Workspace, Bundle], dict[str, float]]]:
    """The shop without a share of its items and a model trained on it; as they are without a share."""
    if share is None:
        yield (workspace, bundle), {}
        return
    workspace.reports.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=workspace.reports, prefix=".held-out.") as directory:
        held_out = hold_out(workspace, Path(directory), share, start_ms)
        train(held_out.workspace, until_ms=start_ms, config=bundle.manifest.config)
        trained = load_bundle(Registry(held_out.workspace.registry).stable())
        yield (held_out.workspace, trained), {"share": share, "num_items": len(held_out.items)}


class _Evaluation:
    """Makes the lists that a report is computed from."""

    def __init__(
        self,
        workspace: Workspace,
        bundle: Bundle,
        *,
        start_ms: int,
        to_ms: int | None,
        dataset: str,
    ) -> None:
        self.bundle, self.start_ms, self.dataset = bundle, start_ms, dataset
        self.config = bundle.manifest.config
        self.catalogue = bundle.parts.catalogue
        self.workspace, self.log = workspace, EventLog(workspace.events)
        end_ms = (self.log.end_ms() or 0) + 1
        self.end_ms = end_ms if to_ms is None else min(to_ms, end_ms)
        positive = [name for name, weight in self.config.state.event_weights.items() if weight > 0]
        liked = self.log.scan().filter(pl.col(EVENT_TYPE).is_in(positive))
        time_ms = pl.col(EFFECTIVE_TIME).dt.epoch("ms")
        in_test = (time_ms >= start_ms) & (time_ms < self.end_ms)
        self.history = (
            liked.filter(time_ms < start_ms).select(USER_ID, ITEM_ID, EVENT_TYPE, EFFECTIVE_TIME).collect()
        )
        self.truth = liked.filter(in_test).select(USER_ID, ITEM_ID).unique().sort(USER_ID, ITEM_ID).collect()
        if self.truth.is_empty():
            raise DataError(
                f"nobody chose anything from {iso(start_ms)} on and before {iso(self.end_ms)}, so there is "
                "nothing to test on; choose another window with --from and --to, or train with --until "
                "earlier and then evaluate"
            )
        self.users = self.truth[USER_ID].unique().sort()
        self.history_pairs = self.history.select(USER_ID, ITEM_ID).unique()
        self.seconds: dict[str, float] = dict(bundle.manifest.training.get("seconds", {}))

    def input(
        self,
        baseline_names: Sequence[str],
        *,
        ablations: bool,
        strategies: bool,
        held_out: Mapping[str, float],
    ) -> EvaluationInput:
        ranked = self._rank()
        started = time.monotonic()
        found = self._baselines(baseline_names)
        self.seconds["baselines"] = time.monotonic() - started
        training = self.bundle.manifest.training
        return EvaluationInput(
            dataset=self.dataset,
            train_until_ms=self.bundle.manifest.fitted_until_ms,
            test_from_ms=self.start_ms,
            test_to_ms=self.end_ms,
            model_version=self.bundle.manifest.version,
            lists=ranked.all,
            novel_lists=ranked.novel,
            truth=self.truth,
            history_pairs=self.history_pairs,
            warm_items=self.history[ITEM_ID].unique(),
            num_items=len(self.catalogue),
            baselines=found,
            candidates=self._recall(ranked.sources),
            texts={**ranked.text, **(self._strategies() if strategies and ranked.text else {})},
            held_out=held_out,
            variants=self._variants(ranked) if ablations else {},
            timings_seconds=self.seconds,
            curves={
                "encoder validation loss": [
                    (int(step), float(loss)) for step, loss in training["encoder"]["curve"]
                ],
                **{
                    f"ranker validation NDCG@10 ({name})": [
                        (int(step), float(score)) for step, score in ranker["curve"]
                    ]
                    for name, ranker in training["rankers"].items()
                },
            },
            feature_gain={
                name: {feature: float(gain) for feature, gain in ranker["gain"].items()}
                for name, ranker in training["rankers"].items()
            },
            shap=ranked.shap,
            calibration=training["encoder"].get("reliability", {}),
            notes=training.get("notes", ()),
        )

    def _recall(self, found: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
        return {name: recall_at(frame, self.truth, RECALL_DEPTH) for name, frame in found.items()}

    def _rank(self) -> WindowLists:
        started = time.monotonic()
        users = WindowUsers(self.bundle, self.log, self.users, self.start_ms)
        ranked = users.everything("ranking for the test users")
        self.seconds["ranking"] = time.monotonic() - started
        return ranked

    def _variants(self, tuned: WindowLists) -> dict[str, BaselineLists]:
        started = time.monotonic()
        found = ranked_by_variants(self.workspace, self.bundle, self.users, self.start_ms)
        self.seconds["ablations"] = time.monotonic() - started
        return {"tuned_text": BaselineLists(tuned.all, tuned.novel), **found} if found else {}

    def _strategies(self) -> dict[str, pl.DataFrame]:
        started = time.monotonic()
        found = found_by_strategies(self.workspace, self.bundle, self.users, self.start_ms)
        self.seconds["strategies"] = time.monotonic() - started
        return found

    def _baselines(self, names: Sequence[str]) -> dict[str, BaselineLists]:
        weights = {name: weight for name, weight in self.config.state.event_weights.items() if weight > 0}
        time_ms = pl.col(EFFECTIVE_TIME).dt.epoch("ms")
        shown = self.log.scan().filter(pl.col(EVENT_TYPE) == "impression", time_ms < self.start_ms)
        found = baselines.compare(
            pl.concat([self.history, shown.select(self.history.columns).collect()]),
            self.users,
            self.start_ms,
            names=names,
            window_days=-(-(self.end_ms - self.start_ms) // DAY_MS),
            depth=DEPTH,
            weights=weights,
        )
        return {name: BaselineLists(its.all, its.novel, its.settings) for name, its in found.items()}
