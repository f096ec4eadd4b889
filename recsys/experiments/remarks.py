"""What looks like a mistake in a definition although it may start: ``validate`` and ``start`` say it."""

from collections.abc import Sequence

from recsys.config import load_config
from recsys.experiments.audit import AuditEntry
from recsys.experiments.definition import Experiment
from recsys.experiments.log_metrics import LOG_COLUMNS
from recsys.experiments.model_names import model_complaints
from recsys.registry import Registry
from recsys.workspace import Workspace

_KEPT_POLICIES = ("none", "extractive")
"""Blurb policies that every shop has."""


def remarks(experiment: Experiment, workspace: Workspace, audit: Sequence[AuditEntry]) -> list[str]:
    """Remarks in words, most of them about what the server would do.

    Args:
        experiment: The definition.
        workspace: Where it would run.
        audit: What happened to experiments there.

    Raises:
        ConfigError: The workspace's configuration is broken.
        BundleError: The pointer file is damaged.
    """
    return [
        *_unknown_placements(experiment, workspace),
        *model_complaints(experiment, Registry(workspace.registry)),
        *_unknown_blurbs(experiment, workspace),
        *_carry_over(experiment, audit),
        *_unknown_columns(experiment),
        *_shape(experiment),
    ]


def _unknown_placements(experiment: Experiment, workspace: Workspace) -> list[str]:
    known = set(load_config(workspace.config).placements)
    named = {*experiment.placements, *(name for arm in experiment.arms for name in arm.placements)}
    return [f"placements: there is no placement {name!r}" for name in sorted(named - known)]


def _unknown_blurbs(experiment: Experiment, workspace: Workspace) -> list[str]:
    configured = load_config(workspace.config).blurbs.policy
    named = {arm.blurbs for arm in experiment.arms if arm.blurbs} - {configured, *_KEPT_POLICIES}
    return [
        f"blurbs: {name!r} is not the policy of recsys.toml, {configured!r}; see that texts were published "
        "under it, or the arm shows what the policy extractive does"
        for name in sorted(named)
    ]


def _unknown_columns(experiment: Experiment) -> list[str]:
    known = ", ".join(sorted(LOG_COLUMNS))
    return [
        f"metrics: {metric.name} names {column!r}, which the log does not give, so no report "
        f"could be made: it gives {known}"
        for metric in experiment.metrics
        for column in metric.columns
        if column not in LOG_COLUMNS
    ]


def _carry_over(experiment: Experiment, audit: Sequence[AuditEntry]) -> list[str]:
    if any(entry.key == experiment.key for entry in audit):
        return [
            "salt: this experiment ran before; with the same salt every unit gets the arm that it had, and "
            "what that did to it carries over. Take another salt unless that is meant"
        ]
    return []


def _shape(experiment: Experiment) -> list[str]:
    found = []
    empty = [arm.key for arm in experiment.arms if not arm.weight]
    if empty:
        found.append(f"arms: {', '.join(empty)} has weight 0 and gets nobody")
    if experiment.hash == "growthbook_v2" and 0 < experiment.coverage < 0.001:
        found.append("coverage: growthbook_v2 has 10,000 places, so shares below 0.001 are coarse")
    changes = [arm.key for arm in experiment.arms if arm.model or arm.placements or arm.blurbs]
    if not changes and not experiment.holdout:
        found.append("arms: none changes anything, so this is an A/A test")
    if experiment.analysis.expected_units is None:
        found.append("analysis.expected_units: absent, so nobody can say whether minimum_effect can be found")
    return found
