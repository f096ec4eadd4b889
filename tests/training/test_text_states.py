import numpy as np
import pytest
import torch

from recsys.encoder import TextEncoder, encode_texts
from tests.recsys.small_catalogue import greengrocer, greengrocer_encoder
from training.text_states import TextStates

TEXTS = greengrocer().texts


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    return TextEncoder(greengrocer_encoder(tmp_path_factory.mktemp("encoder")), 1, 16)


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("recsys.encoder", "training.text_states"):
        monkeypatch.setattr(f"{module}.inference_dtype", lambda: torch.float32)


def states_of(encoder: TextEncoder, budget: int, priority: list[int] | None = None) -> TextStates:
    needed = np.asarray(priority or [1] * len(TEXTS), np.int64)
    return TextStates(encoder, TEXTS, needed, budget)


@pytest.mark.parametrize("budget", [0, 3_000, 10**9])
def test_base_vectors_are_the_encoders_however_much_is_kept(encoder: TextEncoder, budget: int) -> None:
    states = states_of(encoder, budget)
    expected = encode_texts(encoder, TEXTS)
    for _ in range(2):  # the second time from memory
        torch.testing.assert_close(states.encode(range(len(TEXTS))), expected, atol=1e-5, rtol=0)
    some = [4, 1, 7]
    torch.testing.assert_close(states.encode(some), expected[some], atol=1e-5, rtol=0)


@pytest.mark.parametrize("budget", [0, 3_000, 10**9])
def test_a_batch_is_padded_and_masked_however_much_is_kept(encoder: TextEncoder, budget: int) -> None:
    states = states_of(encoder, budget)
    states.encode(range(len(TEXTS)))
    chosen = [3, 0, 5]
    found, mask = states.of(chosen)
    assert mask.sum(1).tolist() == [len(ids) for ids in encoder.tokenize([TEXTS[i] for i in chosen])]
    assert found.shape == (*mask.shape, encoder.width)
    torch.testing.assert_close(
        encoder.base_vectors(found, mask), encode_texts(encoder, TEXTS)[chosen], atol=1e-5, rtol=0
    )


def test_the_texts_that_are_needed_most_are_kept_within_the_budget(encoder: TextEncoder) -> None:
    lengths = [len(ids) for ids in encoder.tokenize(TEXTS)]
    priority = [1] * len(TEXTS)
    priority[2], priority[5] = 9, 8
    budget = (lengths[2] + lengths[5]) * encoder.width * 4
    states = states_of(encoder, budget, priority)
    states.encode(range(len(TEXTS)))
    assert states._kept.keys() == {2, 5}
    assert states.num_bytes == budget
    assert sum(kept.nbytes for kept in states._kept.values()) == budget


def test_nothing_kept_means_gradients_reach_the_lowest_layer(encoder: TextEncoder) -> None:
    encoder.requires_grad_(requires_grad=True)
    states = states_of(encoder, 0)
    torch.autograd.backward(encoder.base_vectors(*states.of([0, 1]))[:, 0].sum())
    gradient = encoder.lower.embeddings.word_embeddings.weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0
    encoder.zero_grad()


def test_progress_counts_every_text(encoder: TextEncoder) -> None:
    done: list[int] = []
    states_of(encoder, 0).encode(range(len(TEXTS)), done.append)
    assert sum(done) == len(TEXTS)


@pytest.mark.parametrize("budget", [0, 10**9])
def test_vectors_of_a_batch_read_in_parts_are_in_order(
    encoder: TextEncoder, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.text_states._PART", 2)
    states = states_of(encoder, budget)
    states.encode(range(len(TEXTS)))
    chosen = [7, 2, 9, 0, 4]
    found = states.vectors(chosen)
    torch.testing.assert_close(found, encode_texts(encoder, TEXTS)[chosen], atol=1e-5, rtol=0)
