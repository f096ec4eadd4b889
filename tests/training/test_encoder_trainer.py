"""Loggers, adapters and the packages they need; what training comes to is tested with ``fit_encoder``."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from recsys.config import EncoderConfig
from recsys.encoder import TextEncoder
from recsys.errors import ConfigError
from tests.recsys.small_catalogue import NOW, events_frame, greengrocer, greengrocer_encoder, shopping
from tests.recsys.small_catalogue import small_config as small
from training.adapters import num_upper_layers, prepare, state_budget
from training.encoder_fit import fit_encoder

CATALOGUE = greengrocer()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return greengrocer_encoder(tmp_path_factory.mktemp("encoder"))


def fit(tiny: Path, logs: Path, **settings: object) -> None:
    config = small(tiny)
    given = {"num_head_steps": 6, "num_tuning_steps": 4, "validate_every": 5, "batch_size": 24} | settings
    encoder = EncoderConfig.model_validate(config.encoder.model_dump() | given)
    events = events_frame(shopping(CATALOGUE))
    fit_encoder(CATALOGUE, events, NOW, config.model_copy(update={"encoder": encoder}), logs)


@pytest.mark.skipif(find_spec("wandb") is None, reason='needs the extra: pip install ".[wandb]"')
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*reinit.*:UserWarning")
def test_weights_and_biases_works_without_a_network(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",
    }.items():
        monkeypatch.setenv(name, value)
    fit(tiny, tmp_path / "run", logger="wandb")
    assert any((tmp_path / "run").rglob("*.wandb"))
    assert not any(tmp_path.rglob("events.out.tfevents.*"))


def test_a_logger_that_is_not_installed_is_named(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytorch_lightning.loggers.wandb._WANDB_AVAILABLE", "")
    with pytest.raises(ConfigError, match=r"\.\[wandb\]"):
        fit(tiny, tmp_path, logger="wandb")


def test_adapters_that_are_not_installed_are_named(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigError, match=r"\.\[lora\]"):
        fit(tiny, tmp_path, strategy="lora")


def test_an_unknown_way_to_share_the_work_is_named(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lightning_strategy"):
        fit(tiny, tmp_path, lightning_strategy="everyone for himself")


@pytest.mark.parametrize(
    ("strategy", "layers", "kept"), [("frozen", 0, 0), ("last_n", 1, 2**20), ("lora", 2, 0), ("full", 2, 0)]
)
def test_a_strategy_says_what_is_trained_and_kept(tiny: Path, strategy: str, layers: int, kept: int) -> None:
    config = EncoderConfig.model_validate({"strategy": strategy, "state_cache_mb": 1})
    encoder = TextEncoder(tiny, num_upper_layers(config), 16)
    assert len(encoder.upper.layer) == layers
    assert state_budget(config) == kept
    prepare(encoder, config)
    trained = {name for name, weight in encoder.named_parameters() if weight.requires_grad}
    if strategy == "lora":
        assert trained
        assert all("lora" in name for name in trained)
    everything = {name for name, _ in encoder.named_parameters()}
    top = {name for name in everything if name.startswith("upper.")}
    expected = {"frozen": set[str](), "last_n": top, "full": everything}
    assert strategy == "lora" or trained == expected[strategy]
