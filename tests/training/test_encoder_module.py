import math
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.config import EncoderConfig, StateConfig
from recsys.encoder import TextEncoder, Towers
from tests.recsys.small_catalogue import NOW, Event, events_frame, greengrocer, greengrocer_encoder
from training.adapters import prepare
from training.encoder_module import EncoderModule
from training.history import HistoryLog
from training.impressions import ShownBatch
from training.next_items import NextItems, collate
from training.schedule import num_steps
from training.steps import TrainingBatch
from training.text_states import TextStates
from training.text_table import TextTable

CATALOGUE = greengrocer()
TEXTS = CATALOGUE.texts
SETTINGS = EncoderConfig(dimension=8, num_head_steps=10, num_tuning_steps=4, dropout=0.0)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return greengrocer_encoder(tmp_path_factory.mktemp("encoder"))


def module_of(tiny: Path, settings: EncoderConfig = SETTINGS, num_used: int = 6) -> EncoderModule:
    """A module whose events touch the first texts, the first of them twice as often."""
    encoder = TextEncoder(tiny, 1, 16)
    prepare(encoder, settings)
    states = TextStates(encoder, TEXTS, np.ones(len(TEXTS), np.int64), 10**9)
    base = states.encode(range(len(TEXTS)))
    share = torch.full((len(TEXTS),), 1 / (num_used + 1))
    share[0] *= 2
    used = torch.arange(num_used)
    table = TextTable(states, base.clone(), base, share.log(), used, torch.arange(len(TEXTS)))
    torch.manual_seed(0)
    towers = Towers(encoder.width, settings)
    towers.item.start_from(table.base)
    return EncoderModule(encoder, towers, table, settings)


def batch_of(*moments: tuple[list[int], list[int]]) -> TrainingBatch:
    """Users at a moment, from the texts they had and the texts that come next."""
    item_of_text = {int(text): CATALOGUE.item_ids[i] for i, text in enumerate(CATALOGUE.text_of_item)}
    events: list[Event] = []
    for user, (before, after) in enumerate(moments):
        events += [(f"u{user}", item_of_text[text], "purchase", NOW - 1000) for text in before]
        events += [(f"u{user}", item_of_text[text], "purchase", NOW) for text in after]
    log = HistoryLog(events_frame(events).collect(), CATALOGUE, StateConfig(), 5)
    examples = NextItems(log, from_ms=0, max_positives=9, seed=0)
    return TrainingBatch(collate([examples[i] for i in range(len(examples))]), None)


def with_list(batch: TrainingBatch, texts: list[int], engaged: list[bool]) -> TrainingBatch:
    """The same, with a list that was shown to its first user."""
    assert batch.next_items is not None
    users = torch.zeros(len(texts), dtype=torch.long)
    shown = ShownBatch(batch.next_items.history, users, torch.tensor(texts), torch.tensor(engaged))
    return batch._replace(shown=shown)


def logged(module: EncoderModule, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What the module logs, without a trainer."""
    values: dict[str, float] = {}

    def log(name: str, value: torch.Tensor | float, **_: object) -> None:
        values[name] = torch.as_tensor(value).item()

    monkeypatch.setattr(module, "log", log)
    return values


def test_in_the_first_phase_vectors_come_from_the_table(tiny: Path) -> None:
    module = module_of(tiny)
    texts = torch.tensor([3, 0, 3])
    assert torch.equal(module.base_vectors(texts), module.table.base[texts])
    assert not module.tunes_layers


def test_in_the_second_phase_positives_go_through_the_trained_layers(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.text_states.inference_dtype", lambda: torch.float32)
    module = module_of(tiny)
    texts = torch.tensor([3, 0, 3])
    by_table = module.base_vectors(texts)
    monkeypatch.setattr(EncoderModule, "tunes_layers", property(lambda _: True))
    by_layers = module.base_vectors(texts)
    torch.testing.assert_close(by_layers, by_table, atol=1e-4, rtol=0)  # nothing is trained yet
    weights = list(module.encoder.upper.layer.parameters())
    assert all(
        grad is not None for grad in torch.autograd.grad(by_layers[:, 0].sum(), weights, allow_unused=False)
    )


def test_towers_upper_layers_and_the_interest_loss_are_trained(tiny: Path) -> None:
    names = {".".join(name.split(".")[:2]) for name in module_of(tiny).trained_weights()}
    assert names == {
        "encoder.upper",
        "towers.item",
        "towers.user",
        "towers.log_scale",
        "interest.log_slope",
        "interest.intercept",
    }


def test_the_training_loss_is_the_sampled_softmax_over_the_batchs_distinct_texts(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = module_of(tiny)
    values = logged(module, monkeypatch)
    batch = batch_of(([1], [0, 4]), ([2, 3], [4]))
    loss = module.training_step(batch, 0)
    with torch.no_grad():
        assert batch.next_items is not None
        users, texts = module.user_vectors(batch.next_items.history), torch.tensor([0, 4])
        scores = (users @ module.towers.item(module.table.base[texts]).T) / SETTINGS.temperature
        corrected = (scores - module.table.log_frequency[texts]).exp()
    # the first user has both texts: neither is a negative of the other; the second has text 4 against text 0
    expected = -math.log(corrected[1, 1] / corrected[1].sum()) / 3
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert values == {"train_loss": pytest.approx(loss.item())}


def test_the_validation_loss_is_the_softmax_over_every_text_of_the_events(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = module_of(tiny, num_used=6)
    values = logged(module, monkeypatch)
    batch = batch_of(([1], [0, 4]), ([2, 3], [4]))
    with torch.no_grad():
        assert batch.next_items is not None
        module.validation_step(batch, 0)
        module.on_validation_epoch_end()
        vectors = module.towers.item(module.table.base[:6])
        users = module.user_vectors(batch.next_items.history)
        scores = (users @ vectors.T / SETTINGS.temperature).double().numpy()
    likelihood = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    expected = -np.log([likelihood[0, 0], likelihood[0, 4], likelihood[1, 4]]).mean()
    assert values == {"val_loss": pytest.approx(expected, rel=1e-4)}
    assert module.best_loss == pytest.approx(expected, rel=1e-4)


def test_shown_lists_add_their_cross_entropy_by_weight(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_of(tiny, SETTINGS.model_copy(update={"impression_weight": 3.0}))
    values = logged(module, monkeypatch)
    batch = batch_of(([1], [0, 4]), ([2, 3], [4]))
    without = module.training_step(batch, 0).item()
    shown = with_list(batch, [5, 0], [False, True])
    loss = module.training_step(shown, 0).item()
    with torch.no_grad():
        assert batch.next_items is not None
        user = module.user_vectors(batch.next_items.history)[0]
        margin = 5 * module.towers.item(module.table.base[[5, 0]]) @ user + module.interest.intercept
        module.validation_step(shown, 0)
        module.on_validation_epoch_end()
    likelihood = margin.sigmoid().tolist()
    expected = -(math.log(1 - likelihood[0]) + math.log(likelihood[1])) / 2
    assert loss == pytest.approx(without + 3 * expected, rel=1e-4)
    assert values["train_bce"] == pytest.approx(expected, rel=1e-4)
    assert values["val_loss"] == pytest.approx(values["val_softmax"] + 3 * values["val_bce"], rel=1e-5)
    assert values["val_bce"] == pytest.approx(expected, rel=1e-4)


def test_an_anchor_costs_what_texts_have_moved(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.text_states.inference_dtype", lambda: torch.float32)
    monkeypatch.setattr(EncoderModule, "tunes_layers", property(lambda _: True))
    free = module_of(tiny)
    anchored = module_of(tiny, SETTINGS.model_copy(update={"anchor_weight": 10.0}))
    for module in (free, anchored):
        logged(module, monkeypatch)
        module.table.frozen_base = module.table.base + 0.1
    batch = batch_of(([1], [0, 4]), ([2, 3], [4]))
    difference = anchored.training_step(batch, 0) - free.training_step(batch, 0)
    # every one of the base vectors' 32 numbers is 0.1 off: 32 * 0.01, times 10
    assert difference.item() == pytest.approx(0.32 * 10 * free.encoder.width / 32, rel=1e-2)


def test_a_step_against_the_gradient_lowers_the_loss(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_of(tiny)
    logged(module, monkeypatch)
    batch = batch_of(([1], [0]), ([2], [4]), ([3], [5]))
    optimizer = torch.optim.SGD(module.towers.parameters(), lr=0.01)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = module.training_step(batch, 0)
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_the_best_weights_can_be_had_back(tiny: Path) -> None:
    module = module_of(tiny)
    module.restore_best()  # nothing was validated yet: the weights stay
    best = module.trained_weights()
    module._best = module.trained_weights()
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(1.0)
    module.restore_best()
    for name, value in module.trained_weights().items():
        assert torch.equal(value, best[name])


@pytest.mark.parametrize(
    ("strategy", "expected"), [("last_n", 14), ("lora", 14), ("full", 14), ("frozen", 10)]
)
def test_the_second_phase_is_for_trained_layers_only(strategy: str, expected: int) -> None:
    assert num_steps(SETTINGS.model_copy(update={"strategy": strategy})) == expected


def test_the_layers_wait_for_the_second_phase_and_both_rates_end_near_zero(tiny: Path) -> None:
    settings = SETTINGS.model_copy(update={"num_head_steps": 100, "num_tuning_steps": 60})
    module = module_of(tiny, settings)
    configured = module.configure_optimizers()
    optimizer = configured["optimizer"]
    given = configured["lr_scheduler"]
    schedule = given["scheduler"] if isinstance(given, dict) else given
    assert isinstance(schedule, torch.optim.lr_scheduler.LambdaLR)
    heads, layers = [], []
    for _ in range(num_steps(settings)):
        heads.append(optimizer.param_groups[0]["lr"])
        layers.append(optimizer.param_groups[1]["lr"])
        optimizer.step()
        schedule.step()
    assert heads[0] == pytest.approx(settings.learning_rate / 20)
    assert max(heads) <= settings.learning_rate
    assert heads[-1] < 0.01 * settings.learning_rate
    assert set(layers[:100]) == {0.0}
    assert 0 < layers[100] < max(layers) <= settings.encoder_learning_rate
    assert layers[-1] < 0.01 * settings.encoder_learning_rate
