"""What a cluster reads of the texts is what this process reads, however many of its nodes go."""

from pathlib import Path
from threading import Timer

import numpy as np
import torch
from ray.cluster_utils import Cluster

from recsys.encoder import TextEncoder
from recsys.ray_runner import RayRunner
from tests.conftest import Trained
from training.text_shards import encode_in_shards
from training.text_states import TextStates

_SECONDS_TO_LOSS = 4


def test_texts_are_read_once_each_although_a_node_goes(
    cluster: Cluster, trained: Trained, tmp_path: Path
) -> None:
    encoder = TextEncoder(Path(trained.config.encoder.model), 1, trained.config.encoder.max_tokens)
    texts = [f"{title} number {i}" for i in range(400) for title in trained.shop.items["title"].to_list()]
    here = TextStates(encoder, texts, np.zeros(len(texts), np.int64), 0).encode(range(len(texts)))
    lost = next(iter(cluster.worker_nodes))
    Timer(_SECONDS_TO_LOSS, lambda: cluster.remove_node(lost, allow_graceful=False)).start()
    there = encode_in_shards(RayRunner(), encoder, texts, tmp_path, "reading texts")
    assert lost not in cluster.worker_nodes
    torch.testing.assert_close(there, here, rtol=0, atol=1e-6)
