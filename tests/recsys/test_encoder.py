from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from recsys.config import EncoderConfig
from recsys.encoder import (
    ItemHead,
    TextEncoder,
    Towers,
    UserTower,
    encode_texts,
    length_buckets,
    pad,
)
from recsys.errors import BundleError
from recsys.schema import EVENT_TYPE_CODES
from tests.recsys.small_catalogue import greengrocer, greengrocer_encoder

TEXTS = ["red apple", "green leek. shop. vegetables", "straw basket", "white turnip", "苹果"]
PURCHASE = EVENT_TYPE_CODES["purchase"]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
"""Padding changes the order of sums; bfloat16 has three decimal digits."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return greengrocer_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute in float32 whatever the processor."""
    monkeypatch.setattr("recsys.encoder.inference_dtype", lambda: torch.float32)


def encoder_of(tiny: Path, *, upper: int = 1, max_tokens: int = 16) -> TextEncoder:
    return TextEncoder(tiny, upper, max_tokens)


def vectors_by_hugging_face(path: Path, texts: list[str]) -> torch.Tensor:
    """Unit mean of the last hidden states, text by text."""
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path).eval()
    with torch.inference_mode():
        means = [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0) for text in texts]
    return functional.normalize(torch.stack(means), dim=1)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("upper", [0, 1, 2, 9])
def test_base_vectors_are_what_hugging_face_computes_wherever_the_cut(tiny: Path, upper: int) -> None:
    found = encode_texts(encoder_of(tiny, upper=upper), TEXTS)
    torch.testing.assert_close(found, vectors_by_hugging_face(tiny, TEXTS), atol=1e-5, rtol=0)


@pytest.mark.usefixtures("exact")
def test_a_saved_encoder_is_a_hugging_face_model_with_the_trained_weights(tiny: Path, tmp_path: Path) -> None:
    encoder = encoder_of(tiny)
    with torch.no_grad():
        for weight in encoder.upper.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    expected = encode_texts(encoder, TEXTS)
    assert not torch.allclose(expected, vectors_by_hugging_face(tiny, TEXTS), atol=1e-3)
    encoder.save(tmp_path)
    torch.testing.assert_close(vectors_by_hugging_face(tmp_path, TEXTS), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        encode_texts(encoder_of(tmp_path, upper=2), TEXTS), expected, atol=1e-5, rtol=0
    )
    assert torch.equal(encode_texts(encoder, TEXTS), expected)


def test_base_vectors_are_unit_vectors_one_per_text_in_order(tiny: Path) -> None:
    encoder = encoder_of(tiny)
    found = encode_texts(encoder, TEXTS)
    assert found.shape == (len(TEXTS), encoder.width)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(len(TEXTS)), atol=1e-2, rtol=0)
    torch.testing.assert_close(encode_texts(encoder, TEXTS[::-1]), found.flip(0), atol=2e-2, rtol=0)


def test_identical_texts_have_identical_vectors(tiny: Path) -> None:
    found = encode_texts(encoder_of(tiny), ["red apple", "white turnip", "red apple"])
    assert torch.equal(found[0], found[2])
    assert not torch.allclose(found[0], found[1], atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_text_has_the_same_vector_alone_and_in_a_batch(
    tiny: Path, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.encoder.inference_dtype", lambda: dtype)
    encoder = encoder_of(tiny)
    texts = [f"{text} {other}" for text in greengrocer().texts for other in TEXTS]
    batch = encode_texts(encoder, texts)
    for i in range(0, len(texts), 7):
        alone = encode_texts(encoder, texts[i : i + 1])[0]
        torch.testing.assert_close(batch[i], alone, atol=TOLERANCE[dtype], rtol=0)


def test_a_text_that_is_too_long_is_cut(tiny: Path) -> None:
    encoder = encoder_of(tiny, max_tokens=6)
    long, cut = "red apple white turnip" + " green leek" * 100, "red apple white turnip"
    assert len(encoder.tokenize([long])[0]) == 6
    assert torch.equal(encode_texts(encoder, [long]), encode_texts(encoder, [cut]))


def test_words_that_the_vocabulary_lacks_and_empty_texts_are_no_error(tiny: Path) -> None:
    found = encode_texts(encoder_of(tiny), ["", "🙂", "xylophone"])
    assert bool(found.isfinite().all())


def test_chinese_words_are_told_apart(tiny: Path) -> None:
    found = encode_texts(encoder_of(tiny), ["苹果", "香蕉", "红 苹果"])
    assert bool(found.isfinite().all())
    assert not torch.allclose(found[0], found[1], atol=1e-3)


def test_progress_counts_every_text(tiny: Path) -> None:
    done: list[int] = []
    encode_texts(encoder_of(tiny), TEXTS, done.append)
    assert sum(done) == len(TEXTS)


def test_only_the_upper_layers_can_be_trained(tiny: Path) -> None:
    encoder = encoder_of(tiny)
    assert not any(weight.requires_grad for weight in encoder.lower.parameters())
    assert all(weight.requires_grad for weight in encoder.upper.parameters())
    assert len(encoder.upper.layer) == 1


def test_padding_is_masked() -> None:
    ids, mask = pad([np.asarray([5, 6, 7], np.int32), np.asarray([8], np.int32)], pad_id=1)
    assert ids.tolist() == [[5, 6, 7], [8, 1, 1]]
    assert mask.tolist() == [[True, True, True], [True, False, False]]


def test_batches_hold_similar_lengths_and_every_text_once() -> None:
    assert list(length_buckets([3, 9, 3, 1, 9], batch_size=2)) == [[1, 4], [0, 2], [3]]
    assert list(length_buckets([], batch_size=2)) == []


def test_batches_of_long_texts_are_small() -> None:
    sizes = [len(batch) for batch in length_buckets([9_000, *[128] * 40, *[20] * 70])]
    assert sizes == [1, 32, 32, 46]


def test_an_untrained_item_head_ranks_like_the_principal_axes_of_the_base_vectors() -> None:
    random = np.random.default_rng(0)
    base = random.normal(size=(60, 12)) * np.geomspace(1, 0.05, 12)
    base /= np.linalg.norm(base, axis=1, keepdims=True)
    head = ItemHead(12, 4)
    head.start_from(torch.from_numpy(base).float())
    with torch.no_grad():
        found = head(torch.from_numpy(base).float()).numpy()
    axes = np.linalg.svd(base, full_matrices=False)[2][:4]
    projected = base @ axes.T
    projected /= np.linalg.norm(projected, axis=1, keepdims=True)
    np.testing.assert_allclose(found @ found.T, projected @ projected.T, atol=1e-5)


def test_as_many_axes_as_the_width_keep_every_similarity() -> None:
    base = functional.normalize(torch.randn(30, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    head = ItemHead(8, 8)
    head.start_from(base)
    with torch.no_grad():
        vectors = head(base)
    torch.testing.assert_close(vectors @ vectors.T, base @ base.T, atol=1e-5, rtol=0)


class Histories:
    """Inputs of the user tower: one user with some items."""

    def __init__(self, num_items: int, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.vectors = functional.normalize(torch.randn(1, num_items, 8, generator=generator), dim=-1)
        self.event_types = torch.randint(0, 9, (1, num_items), generator=generator)
        self.age_days = 40 * torch.rand(1, num_items, generator=generator)
        self.counts = torch.randint(1, 9, (1, num_items), generator=generator).float()
        self.mask = torch.ones(1, num_items, dtype=torch.bool)

    def through(self, tower: UserTower) -> torch.Tensor:
        with torch.no_grad():
            vector: torch.Tensor = tower(
                self.vectors, self.event_types, self.age_days, self.counts, self.mask
            )
        return vector

    def in_order(self, order: list[int]) -> "Histories":
        other = Histories(len(order))
        for name in ("vectors", "event_types", "age_days", "counts", "mask"):
            setattr(other, name, getattr(self, name)[:, order])
        return other


def learned_tower() -> UserTower:
    """A tower whose every weight matters."""
    torch.manual_seed(3)
    tower = UserTower(8, num_heads=3)
    with torch.no_grad():
        for weight in tower.parameters():
            weight.add_(0.3 * torch.randn(weight.shape))
    return tower.eval()


def test_padding_of_a_history_does_not_matter() -> None:
    tower, short = learned_tower(), Histories(4)
    padded = short.in_order([0, 1, 2, 3, 3, 0, 1])
    padded.mask[0, 4:] = False
    padded.age_days[0, 4:] = 1e6
    torch.testing.assert_close(padded.through(tower), short.through(tower), atol=1e-6, rtol=0)


def test_the_order_of_a_history_does_not_matter() -> None:
    tower, history = learned_tower(), Histories(5)
    shuffled = history.in_order([3, 0, 4, 2, 1])
    torch.testing.assert_close(shuffled.through(tower), history.through(tower), atol=1e-6, rtol=0)


def test_event_type_age_and_count_matter_once_they_are_learned() -> None:
    tower, history = learned_tower(), Histories(3)
    before = history.through(tower)
    for name, value in (("event_types", 4), ("age_days", 900.0), ("counts", 500.0)):
        changed = history.in_order([0, 1, 2])
        getattr(changed, name)[0, 0] = value
        assert not torch.allclose(changed.through(tower), before, atol=1e-4)


def test_order_is_told_where_times_are_too_close_for_ages() -> None:
    tower = UserTower(8).eval()
    torch.nn.init.zeros_(tower.content.weight)
    history = Histories(3)
    history.vectors = torch.eye(8)[None, :3]
    history.event_types[:], history.counts[:] = PURCHASE, 1
    history.age_days = torch.tensor([[0.0, 0.001, 0.001]])  # one purchase, and two together before it
    vector = history.through(tower)[0]
    assert vector[0] > vector[1] > 0
    assert vector[1].item() == pytest.approx(vector[2].item(), abs=1e-6)


def test_a_history_gives_a_unit_vector() -> None:
    for tower in (learned_tower(), UserTower(8)):
        vector = Histories(5).through(tower.eval())
        assert vector.shape == (1, 8)
        assert vector.norm().item() == pytest.approx(1, abs=1e-5)


def test_an_untrained_tower_looks_at_the_newest_items_most() -> None:
    tower = UserTower(8).eval()
    torch.nn.init.zeros_(tower.content.weight)
    torch.nn.init.zeros_(tower.content.bias)
    history = Histories(2)
    history.vectors = torch.eye(8)[None, :2]
    history.event_types[:] = PURCHASE
    history.counts[:] = 1
    history.age_days = torch.tensor([[0.0, 365.0]])
    vector = history.through(tower)[0]
    assert vector[0] > vector[1] > 0
    assert vector[2:].abs().max() < 1e-6


def test_an_empty_history_gives_the_shared_unit_vector() -> None:
    tower = learned_tower()
    empty, other = Histories(2), Histories(3, seed=9)
    empty.mask[:], other.mask[:] = False, False
    expected = functional.normalize(tower.mix.bias.detach(), dim=0)
    for history in (empty, other):
        torch.testing.assert_close(history.through(tower)[0], expected, atol=1e-6, rtol=0)
        assert history.through(tower).norm().item() == pytest.approx(1, abs=1e-5)


def test_towers_are_the_same_after_saving_and_loading(tmp_path: Path) -> None:
    config = EncoderConfig(dimension=8)
    towers = Towers(12, config).eval()
    towers.save(tmp_path / "towers.safetensors")
    again = Towers.load(tmp_path / "towers.safetensors", 12, config)
    assert not again.training
    assert again.state_dict().keys() == towers.state_dict().keys()
    for name, value in towers.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    assert again.log_scale.exp().item() == pytest.approx(1 / config.temperature, rel=1e-6)


def test_towers_of_another_size_or_with_other_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "towers.safetensors"
    Towers(12, EncoderConfig(dimension=8)).save(path)
    with pytest.raises(BundleError, match="does not fit"):
        Towers.load(path, 12, EncoderConfig(dimension=16))
    save_file({"something": torch.zeros(1)}, path)
    with pytest.raises(BundleError, match="does not fit"):
        Towers.load(path, 12, EncoderConfig(dimension=8))
