"""Whether the models that a definition names are in the registry: else an arm tries the stable one."""

from recsys.errors import ConfigError
from recsys.experiments.definition import Experiment
from recsys.registry import Registry

_PARTS = ("stable", "canary")


def model_complaints(experiment: Experiment, registry: Registry) -> list[str]:
    """What is wrong with the models of arms, one per arm, in words.

    Raises:
        BundleError: The pointer file is damaged.
    """
    versions = {entry.version: entry.damage for entry in registry.entries()}
    pointers = registry.pointers().targets()
    found = []
    for arm in experiment.arms:
        if arm.model in {None, "stable"} or versions.get(arm.model or "", "absent") is None:
            continue
        where = f"arms.{arm.key}.model: "
        if arm.model in versions:
            found.append(f"{where}version {arm.model} is damaged: {versions[arm.model]}")
        elif arm.model == "canary" and "canary" not in pointers:
            found.append(
                f"{where}there is no canary; make a version one: recsys models promote VERSION --canary 0"
            )
        elif arm.model != "canary":
            known = ", ".join([*_PARTS, *sorted(versions)])
            found.append(f"{where}expected one of {known}, got {arm.model!r}")
    return found


def require_models(experiment: Experiment, registry: Registry) -> None:
    """See that every arm's model is there; a registry without any model tells nothing.

    Raises:
        ConfigError: One is not.
        BundleError: The pointer file is damaged.
    """
    complaints = model_complaints(experiment, registry)
    if complaints and registry.entries():
        raise ConfigError(f"{experiment.key} cannot start: {'; '.join(complaints)}")
