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


def test_while_it_is_postponed_it_answers_nothing_and_then_it_does(tiny: Path) -> None:
    encoder = QueryEncoder(tiny, EncoderConfig(max_tokens=16))
    encoder.postpone()
    assert encoder.vector("leek") is None
    encoder.load()
    assert encoder.vector("leek") is not None
    encoder.postpone()  # it is there already
    assert encoder.vector("leek") is not None


def test_an_encoder_that_is_not_there_is_an_error_when_it_is_asked(tmp_path: Path) -> None:
    encoder = QueryEncoder(tmp_path, EncoderConfig(max_tokens=16))
    with pytest.raises(ConfigError):
        encoder.vector("leek")


def test_where_loading_fails_it_is_tried_again_when_somebody_asks(tiny: Path, tmp_path: Path) -> None:
    encoder = QueryEncoder(tmp_path / "later", EncoderConfig(max_tokens=16))
    encoder.postpone()
    encoder.load()
    (tmp_path / "later").symlink_to(tiny)
    assert encoder.vector("leek") is not None


def test_items_texts_are_read_with_the_encoder_that_reads_queries(tiny: Path) -> None:
    encoder = QueryEncoder(tiny, EncoderConfig(max_tokens=16))
    assert encoder.encoder() is encoder.encoder()
