import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys.encoder import UserTower
from recsys.interest import InterestTower
from recsys.schema import DAY_MS
from recsys.user_items import Recent
from tests.recsys.small_catalogue import NOW, parts_without_encoder, small_config

INDEX = parts_without_encoder([], small_config()).index
DIMENSION = INDEX.vectors.shape[1]
ROWS = st.tuples(st.integers(0, 8), st.integers(0, 500), st.integers(1, 40))


@given(rows=st.lists(ROWS, min_size=1, max_size=5), seed=st.integers(0, 9))
def test_the_vector_is_the_towers_own(rows: list[tuple[int, int, int]], seed: int) -> None:
    torch.manual_seed(seed)
    tower = UserTower(DIMENSION).eval()
    for weights in tower.parameters():
        torch.nn.init.normal_(weights)
    positions = np.arange(len(rows))
    types, days, counts = (np.asarray(column, np.int64) for column in zip(*rows, strict=True))
    recent = Recent(positions, types.astype(np.uint8), NOW - days * DAY_MS, counts)
    found = InterestTower.of(tower).vector(INDEX, recent)
    batch = (
        INDEX.of_items(positions),
        types,
        (days - days.min()).astype(np.float32),
        counts.astype(np.float32),
    )
    with torch.no_grad():
        inputs = (torch.from_numpy(array)[None] for array in batch)
        expected = tower(*inputs, torch.ones(1, len(rows), dtype=torch.bool))[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
