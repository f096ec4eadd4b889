"""How fast texts are read and layers are trained, beside sentence-transformers in the same run.

``pytest tests/benchmarks/test_encoder_speed.py --benchmark-only -s``; the figures are in ``extra_info`` of
``--benchmark-json``. It takes some minutes and wants a quiet machine.
"""

from importlib.util import find_spec

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from training.encoder_bench import STRATEGIES, encode_speed, sentence_transformers_speed, training_speed

pytestmark = [
    pytest.mark.timeout(1200),
    pytest.mark.filterwarnings("default"),  # other people's libraries, at their own pace
    pytest.mark.skipif(
        find_spec("sentence_transformers") is None or find_spec("datasets") is None,
        reason='the comparison needs sentence-transformers: pip install ".[bench]"',
    ),
]


def test_reading_texts_beside_sentence_transformers(benchmark: BenchmarkFixture) -> None:
    found = benchmark.pedantic(encode_speed)  # type: ignore[no-untyped-call]  # unannotated upstream
    benchmark.extra_info["encode"] = {name: round(value, 4) for name, value in found.items()}
    assert found["least_cosine"] >= 0.999
    assert found["texts_per_second"] > found["sentence_transformers_texts_per_second"]


def test_training_steps_beside_sentence_transformers(benchmark: BenchmarkFixture) -> None:
    found = benchmark.pedantic(training_speed)  # type: ignore[no-untyped-call]  # unannotated upstream
    speeds = {name: speed.pairs_per_second for name, speed in found.items()}
    benchmark.extra_info["train"] = {
        "pairs_per_second": speeds,
        "peak_memory_mb": {name: speed.peak_memory_mb for name, speed in found.items()},
        "sentence_transformers_pairs_per_second": sentence_transformers_speed(),
    }
    assert speeds.keys() == set(STRATEGIES)
    assert speeds["last_n"] > 3 * speeds["full"]
