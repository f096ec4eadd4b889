"""The recipe: from a workspace's log to a bundle in its registry."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial, reduce
from operator import add
from typing import Any, TypeVar

import numpy as np
import polars as pl
from jaxtyping import Float32

from features.registry import fingerprint, names
from recsys.bundle import item_vectors, write_bundle
from recsys.catalogue import Catalogue
from recsys.config import Config, load_config
from recsys.errors import DataError
from recsys.event_log import READERS_LOCK, EventLog
from recsys.file_lock import shared
from recsys.index import VectorIndex, quantise
from recsys.ingest import read_items
from recsys.item_tables import fit_item_tables
from recsys.manifest import Manifest, new_version
from recsys.moment import Parts
from recsys.ranker import Ranker
from recsys.registry import Registry
from recsys.runner import Group, Runner
from recsys.schema import EFFECTIVE_TIME, EVENT_TYPE
from recsys.tables import TRAINING_LOCK
from recsys.timestamps import iso, utc
from recsys.workspace import Workspace
from training.decision_table import collect_decisions
from training.decisions import Decisions
from training.encoder_fit import FittedEncoder, fit_encoder
from training.labels import grades
from training.log_copy import LogCopy
from training.notes import notes
from training.ranker_fit import Settled, canary_rows, fit_ranker, monotone_constraints
from training.ranker_shares import fit_ranker_together
from training.shown_decisions import collect_shown
from training.take_over import Only, TakenOver, take_over
from training.unknown_items import collect_unknown
from training.visits import collect_visits

T = TypeVar("T")


@dataclass
class TrainingSummary:
    """What a training run did."""

    version: str
    fitted_until_ms: int
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time by stage."""
    details: dict[str, Any] = field(default_factory=dict)
    """Sizes and learning curves by stage."""


def train(
    workspace: Workspace,
    *,
    until_ms: int | None = None,
    config: Config | None = None,
    only: Only | None = None,
    runner: Runner | None = None,
) -> TrainingSummary:
    """Fine-tune the encoder, fit the parts and the ranker, and promote the bundle to ``stable``.

    With T3 the end of the data, the last ``num_windows`` label windows end at T3. The encoder and the
    calibration are fitted before the first of them. The item tables are fitted before each window for its
    own rows, and again until T3 for the bundle. A ranker finds its plan and its number of trees
    on the last window and is then fitted on all of them; there is one per thing to order, see
    ``recsys.manifest.RANKERS``, where there is something to learn it from.

    Args:
        workspace: Where items and events lie and the bundle goes.
        until_ms: End of the data, exclusive; the whole log when absent.
        config: The run configuration; the workspace's ``recsys.toml`` when absent.
        only: Train this part and take over what can be kept of the rest, see ``training.take_over``.
        runner: Where the texts are read and, if it has processes that work together, encoder and rankers are
            fitted; in this process when absent.

    Raises:
        BundleError: Something is to be taken over, and there is no stable bundle that verifies.
        ConfigError: The configuration names a feature that does not exist, or does not fit the kept encoder.
        DataError: The log is empty, too short for the windows, or nothing was taken in them.
        LeakageError: The encoder to be kept has seen events of the label windows.
    """
    config = config or load_config(workspace.config)
    monotone_constraints(config)
    with shared(workspace.root / TRAINING_LOCK), shared(workspace.events / READERS_LOCK):
        catalogue = Catalogue(read_items(workspace))
        registry = Registry(workspace.registry)
        taken = take_over(registry, only, catalogue, config)
        run = TrainingRun(
            registry, workspace, catalogue, config, taken=taken, until_ms=until_ms, runner=runner
        )
        return run.finish()


def label_window_ms(events: pl.LazyFrame, config: Config, until_ms: int) -> int:
    """Length of a label window in milliseconds.

    The configured one, or as long as leaves half of the events before the first window: what is fitted before
    the windows needs something to be fitted on.
    """
    middle = events.select(pl.col(EFFECTIVE_TIME).dt.epoch("ms").quantile(0.5, "lower")).collect().item()
    longest = (until_ms - int(middle)) // config.ranker.num_windows
    return max(min(round(config.ranker.label_window.total_seconds() * 1000), longest), 1)


class TrainingRun:
    """One training run; the stages in order."""

    def __init__(
        self,
        registry: Registry,
        workspace: Workspace,
        catalogue: Catalogue,
        config: Config,
        *,
        taken: TakenOver = TakenOver(),  # noqa: B008 (frozen, and nothing is in it)
        until_ms: int | None = None,
        runner: Runner | None = None,
    ) -> None:
        """Read the log.

        Args:
            registry: Where ``finish`` puts the bundle.
            workspace: Where the events lie and the learning curves go.
            catalogue: The items.
            config: The run configuration.
            taken: Parts that are not fitted anew.
            until_ms: End of the data, exclusive; the whole log when absent.
            runner: Where the texts are read; in this process when absent.

        Raises:
            DataError: The log is empty, or holds nothing to learn from in the last label window or in the
                earlier ones.
            LeakageError: The encoder that is taken over has seen events of the label windows.
        """
        log = EventLog(workspace.events)
        end_ms = log.end_ms()
        if end_ms is None:
            raise DataError("the event log is empty; run: recsys ingest --items PATH --events PATH")
        until_ms = min(until_ms, end_ms + 1) if until_ms is not None else end_ms + 1
        self.registry, self.workspace, self.taken, self.runner = registry, workspace, taken, runner
        self.config, self.catalogue, self.until_ms = config, catalogue, until_ms
        self.log = LogCopy(log, until_ms)
        self.events = self.log.events
        if self.events.limit(1).collect().is_empty():
            raise DataError(f"no event happened before {iso(until_ms)}; set a later --until")
        window_ms = label_window_ms(self.events, config, until_ms)
        self.window_ends = [until_ms - window_ms * i for i in range(config.ranker.num_windows)][::-1]
        self.window_starts = [end - window_ms for end in self.window_ends]
        self._require_labels()
        taken.require_before(self.window_starts[0])
        self.created = datetime.now(UTC)
        self.summary = TrainingSummary(new_version(utc(until_ms), self.created), until_ms)

    def _require_labels(self) -> None:
        """Refuse, before any work, a log in which nothing was taken when it matters.

        Raises:
            DataError: Nothing was taken in the last label window, or in all earlier ones.
        """
        time = pl.col(EFFECTIVE_TIME).dt.epoch("ms")
        taken = self.events.filter(pl.col(EVENT_TYPE).is_in(list(grades(self.config)))).select(
            earlier=((time >= self.window_starts[0]) & (time < self.window_starts[-1])).any(),
            last=((time >= self.window_starts[-1]) & (time < self.window_ends[-1])).any(),
        )
        for name, found in taken.collect().row(0, named=True).items():
            if not found:
                which = "last label window" if name == "last" else "label windows before the last"
                from_ms = self.window_starts[-1 if name == "last" else 0]
                raise DataError(
                    f"the ranker learns from what users take, and no event of a positive weight "
                    f"happened in the {which}, from {iso(from_ms)} on; set --until "
                    "earlier, or a longer ranker.label_window"
                )

    def collect(self, encoder: FittedEncoder) -> list[dict[str, Decisions]]:
        """Decisions of the label windows, oldest first."""
        return [
            self._timed("decisions", partial(self._decisions, encoder, start, end))
            for start, end in zip(self.window_starts, self.window_ends, strict=True)
        ]

    def finish(self) -> TrainingSummary:
        """Train everything and promote the bundle."""
        encoder = self._timed("encoder", self.fit_encoder)
        windows = self.collect(encoder)
        self.summary.details["notes"] = notes(self.catalogue, self.events, windows, self.config)
        rankers = self._timed("ranker", partial(self._fit_rankers, windows))
        canary = canary_rows(windows[-1]["all"])
        self._timed("bundle", lambda: self._publish(encoder, rankers, canary))
        return self.summary

    def _fit_rankers(self, windows: list[dict[str, Decisions]]) -> dict[str, Ranker]:
        rankers, details = {}, {}
        for name in windows[-1]:
            *earlier, last = (window[name] for window in windows)
            past = reduce(add, earlier)
            if name != "all" and not (past.labels.any() and last.labels.any()):
                continue
            plans, settled = self._plans(name), self.taken.settled.get(name)
            if settled is not None and settled.plan not in plans:
                settled = None  # the configuration has changed
            rankers[name], seen = self._fit(past, last, plans, settled)
            details[name] = seen | {
                "rows": sum(len(window[name].labels) for window in windows),
                "decisions": sum(len(window[name].groups) for window in windows),
                "gain": rankers[name].gain(),
            }
        self.summary.details["rankers"] = details
        return rankers

    def _fit(
        self, past: Decisions, last: Decisions, plans: tuple[str, ...], settled: Settled | None
    ) -> tuple[Ranker, dict[str, Any]]:
        """Here, or by all processes of a cluster together."""
        if not isinstance(self.runner, Group):
            return fit_ranker(past, last, self.config, plans=plans, settled=settled)
        place = self.workspace.reports / "training" / self.summary.version
        return fit_ranker_together(self.runner, past, last, self.config, place, plans=plans, settled=settled)

    def _plans(self, name: str) -> tuple[str, ...]:
        """The plans that suit what a ranker orders."""
        if name != "shown":
            return ("whole",)
        if self.config.ranker.position == "bias":
            return ("unbiased",)
        return ("whole",) if "shown" in self.config.state.leave_out_families else ("anchored", "whole")

    def fit_encoder(self) -> FittedEncoder:
        """The encoder that is taken over, or a new one, fitted before the first label window."""
        log_dir = self.workspace.reports / "training" / self.summary.version
        fitted = self.taken.encoder or fit_encoder(
            self.catalogue,
            self.events,
            self.window_starts[0],
            self.config,
            log_dir,
            runner=self.runner,
        )
        self.summary.details["encoder"] = {
            "texts": len(self.catalogue.texts),
            "moments": fitted.num_moments,
            "lists": fitted.num_lists,
            "reliability": asdict(fitted.reliability),
            "curve": fitted.curve,
            **fitted.processes,
        }
        return fitted

    def parts(self, encoder: FittedEncoder, until_ms: int) -> Parts:
        """The encoder as it is, the item tables as of ``until_ms``."""
        words = VectorIndex(quantise(encoder.frozen_base.numpy()), self.catalogue)
        return Parts(
            config=self.config,
            catalogue=self.catalogue,
            index=VectorIndex(item_vectors(encoder.towers, encoder.base), self.catalogue),
            words=words,
            user_tower=encoder.towers.user,
            tables=fit_item_tables(self.events, self.catalogue, words, self.config, until_ms),
            calibration=encoder.calibration,
            encoder_fitted_until_ms=encoder.fitted_until_ms,
        )

    def _decisions(self, encoder: FittedEncoder, start_ms: int, end_ms: int) -> dict[str, Decisions]:
        parts = self.parts(encoder, start_ms)
        window = self.events, parts, start_ms, end_ms
        visits = collect_visits(*window)
        home = {
            name: found + visits[name]
            for name, found in collect_decisions(*window, shards=self.log.shards).items()
        }
        home["new"] += collect_unknown(*window, shards=self.log.shards)
        return home | {"shown": collect_shown(*window)}

    def _publish(
        self,
        encoder: FittedEncoder,
        rankers: dict[str, Ranker],
        canary: Float32[np.ndarray, "rows features"],
    ) -> Manifest:
        registry, details = self.registry, self.summary.details
        validation = [score for _, score in details["rankers"]["all"]["curve"]]
        first_ms = self.events.select(pl.col(EFFECTIVE_TIME).min()).collect().item()
        describe = {
            "version": self.summary.version,
            "parent_version": registry.pointers().stable,
            "created_time": self.created,
            "data_from": first_ms,
            "fitted_until": utc(self.until_ms),
            "feature_names": names(self.config.state),
            "feature_fingerprint": fingerprint(self.config.state),
            "metrics": {
                "encoder_validation_loss": min(loss for _, loss in encoder.curve),
                **({"ranker_validation_ndcg@10": max(validation)} if validation else {}),
            },
            "training": {"seconds": self.summary.seconds, **details},
        }
        manifest = write_bundle(
            registry.path(self.summary.version),
            describe,
            self.parts(encoder, self.until_ms),
            encoder.encoder,
            encoder.towers,
            rankers,
            canary,
            self.runner,
        )
        registry.promote(manifest.version)
        return manifest

    def _timed(self, stage: str, work: Callable[[], T]) -> T:
        started = time.monotonic()
        result = work()
        self.summary.seconds[stage] = self.summary.seconds.get(stage, 0.0) + time.monotonic() - started
        return result
