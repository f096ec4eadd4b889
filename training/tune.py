"""``recsys tune``: a search for better encoder and ranker settings, by Optuna, on the last label window.

Everything is trained on what lies before the last label window and scored in it; with ``until_ms`` at the
start of the test window, that window is never read. The first trial is always the settings as they are, so
that the best can only be better. Trials are kept in ``reports/tuning`` of the workspace: a search that was
killed goes on where it stopped, and one with more trials adds to those there are, as long as the data and the
configuration stay the same.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import structlog
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from rich.table import Table

from recsys.catalogue import Catalogue
from recsys.config import Config, load_config
from recsys.errors import BundleError, ConfigError, LeakageError
from recsys.ingest import read_items
from recsys.registry import Registry
from recsys.workspace import Workspace, atomic_path
from training.ranker_fit import monotone_constraints
from training.recipe import TrainingRun
from training.take_over import Only, take_over
from training.tune_spaces import as_they_are, rounded, with_settings
from training.tune_trials import EncoderTrials, RankerTrials

METRICS = {"encoder": "recall@500 of the text alone, items new to the user", "ranker": "NDCG@10"}
"""What each search makes as large as it can."""
_WARM_UP_TRIALS = 4

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Trial:
    """One choice of settings."""

    number: int
    value: float | None
    """``None`` for one that was stopped early."""
    settings: dict[str, Any]


@dataclass(frozen=True)
class Searched:
    """What the search of one section came to."""

    section: str
    trials: tuple[Trial, ...]
    """In the order they were tried; the first one has the settings as they were."""
    best: Trial

    def better(self, config: Config) -> dict[str, Any]:
        """The best settings that differ from those of the configuration that the search began with."""
        now = as_they_are(self.section, config)
        return {name: value for name, value in self.best.settings.items() if value != now[name]}


def tune(
    workspace: Workspace,
    *,
    trials: int = 20,
    until_ms: int | None = None,
    config: Config | None = None,
    only: Only | None = None,
) -> list[Searched]:
    """Search encoder settings, then ranker settings behind the best encoder; or one of the two.

    A search of ranker settings alone takes the stable bundle's encoder where that fits the data and the
    configuration, and trains one otherwise.

    Args:
        workspace: The items and events.
        trials: Settings to try in each search, those of earlier calls included; at least 1.
        until_ms: End of the data, exclusive; the whole log when absent. Nothing at or after it is read.
        config: The configuration to start from; the workspace's ``recsys.toml`` when absent.
        only: Search this section alone.

    Raises:
        ConfigError: ``trials`` is below 1, or the configuration names features that do not exist.
        DataError: The log is empty, too short for the label windows, or holds nothing to tune on.
    """
    if trials < 1:
        raise ConfigError(f"--trials must be 1 or more, got {trials}")
    config = config or load_config(workspace.config)
    monotone_constraints(config)
    catalogue, found = Catalogue(read_items(workspace)), list[Searched]()
    place = workspace.reports / "tuning"
    place.mkdir(parents=True, exist_ok=True)
    if only != "ranker":
        run = TrainingRun(Registry(workspace.registry), workspace, catalogue, config, until_ms=until_ms)
        searched = _search("encoder", run, lambda: EncoderTrials(run, place / "encoder").score, place, trials)
        config = with_settings(config, "encoder", searched.better(config))
        found.append(searched)
    if only != "encoder":
        last = _ranker_run(workspace, catalogue, config, until_ms)
        found.append(_search("ranker", last, lambda: _ranker_trials(last).score, place, trials))
    return found


def fragment(searched: Sequence[Searched], config: Config) -> str:
    """The best settings that differ from ``config``, to be put into ``recsys.toml``."""
    sections = {one.section: one.better(config) for one in searched}
    blocks = [
        "\n".join([f"[{section}]", *(f"{name} = {json.dumps(value)}" for name, value in better.items())])
        for section, better in sections.items()
        if better
    ]
    return "\n\n".join(blocks) + "\n" if blocks else "# no settings were better than those there are\n"


def summary_table(searched: Searched, most: int = 10) -> Table:
    """The best trials of a search, for a terminal; the first trial has the settings as they were.

    Args:
        searched: The search.
        most: Rows, at most.
    """
    table = Table(title=f"{searched.section}: {METRICS[searched.section]}")
    names = list(searched.best.settings)
    for heading in ("trial", "value", *names):
        table.add_column(heading, justify="right")
    scored = [trial for trial in searched.trials if trial.value is not None]
    for trial in sorted(scored, key=lambda trial: -(trial.value or 0.0))[:most]:
        cells = (str(trial.number), f"{trial.value:.4f}", *(str(trial.settings[name]) for name in names))
        table.add_row(*cells, style="bold" if trial == searched.best else None)
    stopped = len(searched.trials) - len(scored)
    counted = f"{len(searched.trials)} trials, {stopped} of them stopped early"
    table.caption = f"{counted}; trial {searched.trials[0].number} is as it was"
    return table


def write_fragment(text: str, output: Path) -> None:
    """Write a fragment of a configuration to a new file.

    Raises:
        ConfigError: There is a file already.
    """
    require_new(output)
    with atomic_path(output) as partial:
        partial.write_text(text, encoding="utf-8")


def require_new(output: Path) -> None:
    """Check that nothing would be overwritten.

    Raises:
        ConfigError: There is a file already.
    """
    if output.exists():
        raise ConfigError(f"{output} exists; give --output a new path, and merge the two by hand")


def _ranker_run(
    workspace: Workspace, catalogue: Catalogue, config: Config, until_ms: int | None
) -> TrainingRun:
    registry = Registry(workspace.registry)
    try:
        taken = take_over(registry, "ranker", catalogue, config)
        return TrainingRun(registry, workspace, catalogue, config, taken=taken, until_ms=until_ms)
    except (BundleError, ConfigError, LeakageError) as error:
        _log.info("the stable bundle's encoder is not used", reason=str(error))
        return TrainingRun(registry, workspace, catalogue, config, until_ms=until_ms)


def _ranker_trials(run: TrainingRun) -> RankerTrials:
    return RankerTrials(run.config, run.collect(run.fit_encoder()))


def _search(
    section: str,
    run: TrainingRun,
    prepare: Callable[[], Callable[[optuna.Trial], float]],
    place: Path,
    trials: int,
) -> Searched:
    """Go on with a study until it has so many trials; ``prepare`` is called when there are any to make."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = _study(section, run, place)
    missing = trials - len(_finished(study))
    if missing > 0:
        score = prepare()
        if not study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.WAITING)):
            study.enqueue_trial(as_they_are(section, run.config))
        study.optimize(score, n_trials=missing, callbacks=[_Tell(section, trials)])
    made = {trial.number: _as_trial(trial, as_they_are(section, run.config)) for trial in _finished(study)}
    return Searched(section, tuple(made.values()), made[study.best_trial.number])


def _study(section: str, run: TrainingRun, place: Path) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(place / "trials.log")))
    name = f"{section}-{_fingerprint(run)}"
    known = {summary.study_name: summary.n_trials for summary in optuna.get_all_study_summaries(storage)}
    seed = (run.config.seed + known.get(name, 0)) % 2**32
    return optuna.create_study(
        study_name=name,
        storage=storage,
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=_WARM_UP_TRIALS),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_WARM_UP_TRIALS, n_warmup_steps=20),
        direction="maximize",
        load_if_exists=True,
    )


def _fingerprint(run: TrainingRun) -> str:
    """Of the data, the configuration and the end of the data of a kept encoder; 16 hexadecimal digits."""
    events = run.events.collect()
    rows = int(events.hash_rows(seed=0).sum()) if events.height else 0
    kept = run.taken.encoder
    encoder_until_ms = kept.fitted_until_ms if kept is not None else run.window_starts[0]
    settings = run.config.model_dump_json(), run.until_ms, encoder_until_ms
    parts = (*settings, rows, *run.catalogue.item_ids, *run.catalogue.texts)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _finished(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))


def _as_trial(trial: FrozenTrial, now: Mapping[str, Any]) -> Trial:
    value = trial.value if trial.state == TrialState.COMPLETE else None
    settings = trial.params if trial.params == now else rounded(trial.params)
    return Trial(trial.number, value, settings)


@dataclass(frozen=True)
class _Tell:
    """Says after every trial how the search stands."""

    section: str
    trials: int

    def __call__(self, study: optuna.Study, trial: FrozenTrial) -> None:
        best: Mapping[str, Any] = {"best": f"{study.best_value:.4f}"} if _complete(study) else {}
        value = f"{trial.value:.4f}" if trial.state == TrialState.COMPLETE else "stopped early"
        done = len(_finished(study))
        _log.info("tried settings", section=self.section, trial=f"{done}/{self.trials}", value=value, **best)


def _complete(study: optuna.Study) -> bool:
    return bool(study.get_trials(states=(TrialState.COMPLETE,)))
