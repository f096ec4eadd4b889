from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from recsys.catalogue import Catalogue
from recsys.config import Config, EncoderConfig
from recsys.encoder import TextEncoder, encode_texts
from recsys.errors import DataError
from recsys.schema import DAY_MS, ITEM_ID, TITLE
from tests.recsys.small_catalogue import NOW, Event, events_frame, items_frame
from tests.tiny_encoder import make_tiny_encoder
from training.encoder_fit import FittedEncoder, fit_encoder
from training.encoder_module import EncoderModule
from training.examples import split_examples

KINDS = ("tea", "paint", "rope", "lamp")
COLOURS = ("red", "blue", "green", "white", "black", "brown")


def shelf() -> Catalogue:
    """Every kind in every colour."""
    rows: list[Mapping[str, object]] = [
        {ITEM_ID: f"{kind}-{colour}", TITLE: f"{colour} {kind}"} for kind in KINDS for colour in COLOURS
    ]
    return Catalogue(items_frame(*rows))


CATALOGUE = shelf()


def log(num_users: int = 24, num_days: int = 40) -> list[Event]:
    """Everybody sticks to one kind and takes any colour: what comes next is told by the word of the kind."""
    random = np.random.default_rng(0)
    events: list[Event] = []
    for user in range(num_users):
        kind = KINDS[user % len(KINDS)]
        for day in range(1, num_days, 2):
            time_ms = NOW - day * DAY_MS + user
            events.append((f"user-{user}", f"{kind}-{random.choice(COLOURS)}", "purchase", time_ms))
    return sorted(events, key=lambda event: event[3])


LOG = log()


def config_of(encoder: Path, **settings: object) -> Config:
    given: dict[str, object] = {
        "model": str(encoder),
        "dimension": 8,
        "max_tokens": 8,
        "history_length": 5,
        "batch_size": 96,
        "num_head_steps": 20,
        "num_tuning_steps": 32,
        "validate_every": 10,
        "learning_rate": 0.02,
    }
    return Config(encoder=EncoderConfig.model_validate(given | settings))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_encoder(tmp_path_factory.mktemp("encoder"), CATALOGUE.texts)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory: Path = tmp_path_factory.mktemp("logs")
    return directory


@pytest.fixture(scope="module")
def fitted(tiny: Path, logs: Path) -> FittedEncoder:
    """An encoder that was tuned on the shelf's log; nobody may train it further."""
    return fit_encoder(CATALOGUE, events_frame(LOG), NOW, config_of(tiny), logs / "tuned")


@pytest.fixture(scope="module")
def frozen(tiny: Path, logs: Path) -> FittedEncoder:
    """The same with the heads alone trained, for a few steps."""
    config = config_of(tiny, num_head_steps=10, strategy="frozen")
    return fit_encoder(CATALOGUE, events_frame(LOG), NOW, config, logs / "frozen")


def item_vectors(fitted: FittedEncoder) -> np.ndarray:
    with torch.no_grad():
        vectors: np.ndarray = fitted.towers.item(fitted.base).numpy()[CATALOGUE.text_of_item]
    return vectors


def test_training_lowers_the_validation_loss(fitted: FittedEncoder) -> None:
    steps, losses = zip(*fitted.curve, strict=True)
    assert list(steps) == sorted(set(steps))
    assert 10 <= steps[-1] <= 52
    assert min(losses) < losses[0]
    # a guess among all 24 texts costs ln 24 = 3.18; knowing the kind leaves 6 colours: ln 6 = 1.79
    assert min(losses) < 2.6


def test_items_that_are_touched_one_after_the_other_come_close(fitted: FittedEncoder) -> None:
    vectors = item_vectors(fitted)
    kinds = np.asarray([item_id.split("-")[0] for item_id in CATALOGUE.item_ids])
    same = kinds[:, None] == kinds[None, :]
    similarity = vectors @ vectors.T
    frozen = fitted.frozen_base.numpy()[CATALOGUE.text_of_item]
    before = frozen @ frozen.T
    others = same & ~np.eye(len(kinds), dtype=bool)
    assert similarity[others].mean() - similarity[~same].mean() > before[others].mean() - before[~same].mean()
    assert similarity[others].mean() > similarity[~same].mean() + 0.2


def test_base_vectors_are_those_of_the_encoder_that_is_handed_over(fitted: FittedEncoder) -> None:
    found = encode_texts(fitted.encoder, CATALOGUE.texts)
    torch.testing.assert_close(found, fitted.base, atol=2e-2, rtol=0)
    assert fitted.base.shape == fitted.frozen_base.shape == (len(CATALOGUE.texts), fitted.encoder.width)


def test_tuning_moved_the_layers_and_left_the_originals_on_disk(fitted: FittedEncoder, tiny: Path) -> None:
    original = encode_texts(TextEncoder(tiny, 1, 8), CATALOGUE.texts)
    torch.testing.assert_close(fitted.frozen_base, original, atol=2e-2, rtol=0)
    moved = [
        not torch.equal(new, old)
        for new, old in zip(
            fitted.encoder.upper.parameters(), TextEncoder(tiny, 1, 8).upper.parameters(), strict=True
        )
    ]
    assert any(moved)
    for new, old in zip(
        fitted.encoder.lower.parameters(), TextEncoder(tiny, 1, 8).lower.parameters(), strict=True
    ):
        assert torch.equal(new, old)


def test_what_is_handed_over_is_ready_for_inference(fitted: FittedEncoder) -> None:
    assert not fitted.towers.training
    assert not fitted.encoder.training
    assert fitted.fitted_until_ms == fitted.calibration.fitted_until_ms == NOW
    assert fitted.num_moments > 0
    assert fitted.num_lists == 0
    assert not any(weight.requires_grad for weight in fitted.encoder.parameters())


def test_probabilities_are_measured_on_data_they_were_not_fitted_on(fitted: FittedEncoder) -> None:
    assert 0 <= fitted.reliability.expected_calibration_error < 0.1
    assert len(fitted.reliability.bins) == 10
    predicted = [b.predicted for b in fitted.reliability.bins]
    assert predicted == sorted(predicted)


def test_a_similar_item_is_more_probable(fitted: FittedEncoder) -> None:
    assert fitted.calibration.slope > 0


def test_events_at_or_after_the_end_change_nothing(tiny: Path, frozen: FittedEncoder, tmp_path: Path) -> None:
    config = config_of(tiny, num_head_steps=10, strategy="frozen")
    future: list[Event] = [
        (f"user-{i}", item_id, "purchase", NOW + i) for i in range(24) for item_id in CATALOGUE.item_ids[:5]
    ]
    again = fit_encoder(CATALOGUE, events_frame([*LOG, *future]), NOW, config, tmp_path)
    assert again.curve == frozen.curve
    assert again.num_moments == frozen.num_moments
    for name, value in frozen.towers.state_dict().items():
        assert torch.equal(again.towers.state_dict()[name], value)


def test_the_frozen_strategy_trains_the_heads_alone(frozen: FittedEncoder) -> None:
    assert torch.equal(frozen.base, frozen.frozen_base)
    assert len(frozen.encoder.upper.layer) == 0
    assert frozen.curve[-1][0] == 10


def settings_of(strategy: str) -> dict[str, object]:
    return {"strategy": strategy, "num_head_steps": 10, "num_tuning_steps": 12, "encoder_learning_rate": 3e-3}


@pytest.mark.parametrize("strategy", ["lora", "full"])
def test_every_layer_is_trained_and_saved_as_a_plain_encoder(
    tiny: Path, tmp_path: Path, strategy: str
) -> None:
    config = config_of(tiny, **settings_of(strategy))
    found = fit_encoder(CATALOGUE, events_frame(LOG), NOW, config, tmp_path / "logs")
    original = TextEncoder(tiny, 9, 8)
    names = dict(original.named_parameters())
    moved = {
        name for name, weight in found.encoder.named_parameters() if not torch.equal(weight, names[name])
    }
    assert names.keys() == dict(found.encoder.named_parameters()).keys()  # no adapter is left
    projections = [
        f"upper.layer.{i}.attention.self.{name}.weight" for i in (0, 1) for name in ("query", "value")
    ]
    if strategy == "lora":
        assert moved == set(projections)
    else:
        assert moved >= {*projections, "lower.embeddings.word_embeddings.weight"}
    found.encoder.save(tmp_path / "saved")
    again = encode_texts(TextEncoder(tmp_path / "saved", 1, 8), CATALOGUE.texts)
    torch.testing.assert_close(again, found.base, atol=2e-2, rtol=0)
    assert found.curve[-1][1] < found.curve[0][1]


def test_an_anchor_keeps_texts_near_where_they_were(tiny: Path, tmp_path: Path) -> None:
    moved = {}
    for weight in (0.0, 100.0):
        config = config_of(tiny, **settings_of("last_n"), anchor_weight=weight)
        found = fit_encoder(CATALOGUE, events_frame(LOG), NOW, config, tmp_path / str(weight))
        moved[weight] = (found.base - found.frozen_base).norm(dim=1).mean().item()
    assert moved[100.0] < 0.5 * moved[0.0]


@pytest.mark.parametrize("budget", [0, 1])
def test_how_much_is_kept_in_memory_changes_nothing(
    tiny: Path, tmp_path: Path, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.text_states.inference_dtype", lambda: torch.float32)
    vectors = [
        fit_encoder(
            CATALOGUE,
            events_frame(LOG),
            NOW,
            config_of(tiny, **settings_of("last_n"), state_cache_mb=megabytes),
            tmp_path / str(megabytes),
        ).base
        for megabytes in (budget, 64)
    ]
    torch.testing.assert_close(vectors[0], vectors[1], atol=1e-4, rtol=0)


class KilledError(Exception):
    """Ends a run in its middle."""


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The step in this list ends the run; an empty list ends none."""
    steps: list[int] = []
    whole = EncoderModule.training_step

    def step(module: EncoderModule, *batch: object) -> torch.Tensor:
        if module.global_step in steps:
            raise KilledError
        return whole(module, *batch)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(EncoderModule, "training_step", step)
    return steps


@pytest.mark.parametrize("strategy", ["last_n", "lora", "frozen"])
@pytest.mark.parametrize("step", [7, 17])
def test_a_run_that_was_killed_ends_with_the_same_weights(
    tiny: Path, tmp_path: Path, killed_at: list[int], strategy: str, step: int
) -> None:
    settings = settings_of(strategy) | {"validate_every": 5, "patience": 50}
    config = config_of(tiny, **settings | ({"num_head_steps": 22} if strategy == "frozen" else {}))

    def fit(name: str) -> FittedEncoder:
        kept = tmp_path / f"kept-{name}"
        return fit_encoder(CATALOGUE, events_frame(LOG), NOW, config, tmp_path / "logs", kept)

    expected = fit("other")
    killed_at.append(step)
    with pytest.raises(KilledError):
        fit("same")
    assert [path.name for path in (tmp_path / "kept-same").iterdir()] == ["encoder.safetensors"]
    killed_at.clear()
    found = fit("same")
    assert found.curve == expected.curve
    assert torch.equal(found.base, expected.base)
    for name, value in expected.towers.state_dict().items():
        assert torch.equal(found.towers.state_dict()[name], value), name
    assert not (tmp_path / "kept-same").exists()


def test_a_checkpoint_of_other_data_is_not_gone_on_from(
    tiny: Path, tmp_path: Path, killed_at: list[int]
) -> None:
    config = config_of(tiny, num_head_steps=10, strategy="frozen", validate_every=5)
    killed_at.append(7)
    with pytest.raises(KilledError):
        fit_encoder(CATALOGUE, events_frame(LOG[1:]), NOW, config, tmp_path / "logs")
    killed_at.clear()
    found = fit_encoder(CATALOGUE, events_frame(LOG), NOW, config, tmp_path / "logs")
    assert not (tmp_path / "encoder-checkpoint").exists()
    afresh = fit_encoder(CATALOGUE, events_frame(LOG), NOW, config, tmp_path / "again")
    assert found.curve == afresh.curve


@pytest.mark.parametrize("num_days", [0, 2])
def test_a_log_that_is_too_short_is_refused_with_what_to_do(
    tiny: Path, tmp_path: Path, num_days: int
) -> None:
    events = [event for event in LOG if event[3] >= NOW - num_days * DAY_MS]
    with pytest.raises(DataError, match="ingest a longer log"):
        fit_encoder(CATALOGUE, events_frame(events), NOW, config_of(tiny), tmp_path)


def test_a_log_of_fewer_days_than_validation_takes_is_divided_all_the_same() -> None:
    events = events_frame([event for event in LOG if event[3] >= NOW - 10 * DAY_MS]).collect()
    config = Config()
    assert config.encoder.validation_days > 10
    train, validation = split_examples(events, CATALOGUE, config, NOW)
    assert 0 < len(validation.next_items) < len(train.next_items)


@pytest.mark.usefixtures("fitted", "frozen")
def test_the_curves_are_logged_for_tensorboard_and_no_checkpoint_is_left(logs: Path) -> None:
    for run in ("tuned", "frozen"):
        assert any((logs / run).rglob("events.out.tfevents.*"))
    assert not any(logs.rglob("*.ckpt"))


def test_an_event_log_of_other_items_is_too_short(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        fit_encoder(
            CATALOGUE,
            events_frame(LOG).with_columns(pl.lit("gone").alias(ITEM_ID)),
            NOW,
            config_of(tiny),
            tmp_path,
        )


def test_without_any_step_the_encoder_is_used_as_it_comes(tiny: Path, logs: Path) -> None:
    config = config_of(tiny, num_head_steps=0, strategy="frozen")
    fitted = fit_encoder(CATALOGUE, events_frame(LOG), NOW, config, logs / "untrained")
    assert [step for step, _ in fitted.curve] == [0]
    assert not fitted.towers.training
    assert torch.equal(fitted.base, fitted.frozen_base)
    projected = torch.nn.functional.normalize(fitted.towers.item.projection(fitted.base), dim=-1)
    torch.testing.assert_close(fitted.towers.item(fitted.base), projected)


def test_layers_whose_training_does_not_help_are_left_as_they_were(tiny: Path, logs: Path) -> None:
    config = config_of(tiny, encoder_learning_rate=5.0, validate_every=4, patience=50)
    fitted = fit_encoder(CATALOGUE, events_frame(LOG), NOW, config, logs / "hopeless")
    assert fitted.curve[-1][0] == 20 + 16
    assert min(fitted.curve, key=lambda point: point[1])[0] <= 20
    torch.testing.assert_close(fitted.base, fitted.frozen_base, atol=1e-5, rtol=0)
