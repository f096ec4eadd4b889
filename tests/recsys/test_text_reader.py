from pathlib import Path

import numpy as np
import pytest

from recsys.bundle import load_bundle
from recsys.config import Strategy
from recsys.registry import Registry
from recsys.text_reader import TextReader
from tests.conftest import Trained
from tests.recsys.small_catalogue import (
    events_frame,
    greengrocer,
    greengrocer_encoder,
    shopping,
    small_config,
    write_shop_bundle,
)


@pytest.mark.parametrize("strategy", ["last_n", "full"])
def test_a_text_that_comes_later_has_the_vectors_it_would_have_had_in_the_bundle(
    tmp_path: Path, strategy: Strategy
) -> None:
    catalogue, config = greengrocer(), small_config(greengrocer_encoder(tmp_path / "encoder"))
    config = config.model_copy(update={"encoder": config.encoder.model_copy(update={"strategy": strategy})})
    write_shop_bundle(tmp_path / "bundle", config, catalogue, events_frame(shopping(catalogue)))
    parts = load_bundle(tmp_path / "bundle").parts
    reader = TextReader(tmp_path / "bundle", config.encoder)
    assert reader.read([]) == []
    read = reader.read(catalogue.texts[::-1])[::-1]
    for found, theirs in (([one.tuned for one in read], parts.index), ([o.words for o in read], parts.words)):
        assert np.abs(np.stack(found).astype(int) - theirs.vectors).max() <= 1  # rounding, at most


def test_texts_are_read_as_training_reads_them(trained: Trained) -> None:
    directory = Registry(trained.workspace.registry).path(trained.version)
    parts = load_bundle(directory).parts
    read = TextReader(directory, trained.config.encoder).read(parts.catalogue.texts)
    for i, theirs in enumerate((parts.index, parts.words)):
        assert np.abs(np.stack([one[i] for one in read]).astype(int) - theirs.vectors).max() <= 1


def test_without_the_pretrained_encoder_the_tuned_one_stands_in(tmp_path: Path) -> None:
    catalogue, config = greengrocer(), small_config(greengrocer_encoder(tmp_path / "encoder"))
    write_shop_bundle(tmp_path / "bundle", config, catalogue, events_frame(shopping(catalogue)))
    (tmp_path / "encoder").rename(tmp_path / "elsewhere")
    text = catalogue.text_of_item[catalogue.position["apple-1"]]
    [found] = TextReader(tmp_path / "bundle", config.encoder).read([catalogue.texts[text]])
    words = load_bundle(tmp_path / "bundle").parts.words  # tuning changed nothing here
    assert np.abs(found.words.astype(int) - words.vectors[text]).max() <= 1
