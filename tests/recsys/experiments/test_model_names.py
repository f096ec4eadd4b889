from pathlib import Path

import pytest

from recsys.errors import ConfigError
from recsys.experiments.registry import ExperimentRegistry
from recsys.registry import POINTERS, Pointers
from recsys.workspace import Workspace
from tests.recsys.experiments.small_experiment import toml


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """One whose registry has a version that cannot be read, and a stable and a previous one."""
    workspace = Workspace(tmp_path)
    (workspace.registry / "bundles" / "torn").mkdir(parents=True)
    pointers = Pointers(stable="torn", previous="torn")
    (workspace.registry / POINTERS).write_text(pointers.model_dump_json(), encoding="utf-8")
    return workspace


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("tron", "arms.treatment.model: expected one of stable, canary, torn, got 'tron'"),
        ("previous", "expected one of stable, canary, torn, got 'previous'"),
        ("canary", "recsys models promote VERSION --canary 0"),
        ("torn", "version torn is damaged: it has no manifest.json"),
    ],
)
def test_a_model_that_is_not_there_is_an_error_before_the_start(
    workspace: Workspace, model: str, words: str
) -> None:
    registry = ExperimentRegistry(workspace)
    with pytest.raises(ConfigError) as caught:
        registry.start(toml(treatment=f'model = "{model}"'), "d.toml")
    assert words in str(caught.value)
    assert registry.all() == []


def test_a_model_that_is_there_may_start_and_without_a_registry_nobody_can_tell(
    workspace: Workspace, tmp_path: Path
) -> None:
    pointers = Pointers(stable="torn", canary="torn")
    (workspace.registry / POINTERS).write_text(pointers.model_dump_json(), encoding="utf-8")
    registry = ExperimentRegistry(workspace)
    for model in ("stable", "canary"):
        text = toml(model, top='layer = "x"\nlayer_range = [0.0, 0.5]', treatment=f'model = "{model}"')
        assert registry.start(text, "d.toml").is_running
        registry.stop(model)
    elsewhere = ExperimentRegistry(Workspace(tmp_path / "elsewhere"))
    assert elsewhere.start(toml(treatment='model = "tron"'), "d.toml").is_running
