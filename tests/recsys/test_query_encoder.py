import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.config import EncoderConfig
from recsys.encoder import TextEncoder, encode_texts
from recsys.errors import ConfigError
from recsys.query_encoder import QueryEncoder
from tests.recsys.small_catalogue import greengrocer_encoder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return greengrocer_encoder(tmp_path_factory.mktemp("encoder"))


def test_a_query_is_read_as_the_items_texts_are(tiny: Path) -> None:
    expected = encode_texts(TextEncoder(tiny, 0, 16), ["red apple"])[0].numpy()
    threads = torch.get_num_threads()
    found = QueryEncoder(tiny, EncoderConfig(max_tokens=16)).vector("  Red\tAPPLE ")
    assert found is not None
    np.testing.assert_array_equal(found, expected)
    assert torch.get_num_threads() == threads


def test_a_query_is_remembered_whoever_asks(tiny: Path) -> None:
    encoder, found = QueryEncoder(tiny, EncoderConfig(max_tokens=16)), []
    askers = [threading.Thread(target=lambda: found.append(encoder.vector("leek"))) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(found) == 4
    assert all(one is found[0] for one in found)


def test_while_it_loads_aside_it_answers_nothing_and_then_it_does(tiny: Path) -> None:
    encoder = QueryEncoder(tiny, EncoderConfig(max_tokens=16))
    with encoder._lock:
        encoder.load_aside()
        assert encoder.vector("leek") is None
    assert encoder._loader is not None
    encoder._loader.join()
    assert encoder.vector("leek") is not None


def test_an_encoder_that_is_not_there_is_an_error_when_it_is_asked(tmp_path: Path) -> None:
    encoder = QueryEncoder(tmp_path, EncoderConfig(max_tokens=16))
    with pytest.raises(ConfigError):
        encoder.vector("leek")
