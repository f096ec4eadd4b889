"""The rules between the packages."""

import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[1]
OURS = ("recsys", "features", "training", "serving")
OPTIONAL = (
    "recsys.ray_group",
    "recsys.ray_runner",
    "serving.kafka_consumer",
    "serving.kafka_intake",
    "serving.kafka_tail",
    "serving.topic_reading",
)
"""Only their own commands import these: their packages need not be there."""
LIGHTNING = ("pytorch_lightning", "lightning", "lightning_fabric")


def modules_of(package: str) -> list[str]:
    """Every module of a package, the generated and optional ones left out, and what only starts a program."""
    paths = (path.relative_to(ROOT) for path in sorted((ROOT / package).rglob("*.py")))
    dotted = (".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths)
    return [
        name
        for name in dotted
        if not name.startswith(("recsys.v1", *OPTIONAL)) and not name.endswith("__main__")
    ]


def loaded_by(*packages: str) -> list[set[str]]:
    """Top-level names in ``sys.modules`` of a fresh process after it imported all of each package in turn."""
    code = (
        "import importlib, sys\n"
        f"for modules in {[modules_of(package) for package in packages]!r}:\n"
        "    for name in modules: importlib.import_module(name)\n"
        "    print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True)
    return [set(line.split()) for line in done.stdout.splitlines()]


def test_the_import_contracts_hold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    status = lint_imports(config_filename="pyproject.toml", no_cache=True)
    assert status == 0, capsys.readouterr().out


@pytest.mark.parametrize("package", OURS)
def test_no_other_distribution_provides_a_package_of_ours(package: str) -> None:
    assert set(packages_distributions().get(package, [])) <= {"recsys"}


def test_features_need_neither_training_nor_serving_and_serving_no_training_and_no_lightning() -> None:
    by_features, by_serving = loaded_by("features", "serving")
    assert not by_features & {"training", "serving", "grpc", *LIGHTNING}
    assert not by_serving & {"training", *LIGHTNING, "peft", "statsmodels", "ray", "confluent_kafka"}


def test_recsys_imports_none_of_the_packages_above_it_and_no_lightning() -> None:
    (by_recsys,) = loaded_by("recsys")
    assert not by_recsys & {"features", "training", "serving", "grpc", *LIGHTNING}


@pytest.mark.parametrize(
    "folder", [path for path in (ROOT / "tests").rglob("*") if path.is_dir()], ids=lambda path: path.name
)
def test_every_folder_of_tests_is_a_package(folder: Path) -> None:
    if any(folder.glob("*.py")):
        assert (folder / "__init__.py").exists()
