"""Room for a vector per text: in memory while they are few, in a file without a name where they are many.

What lies in a file is written back by the system when memory is short, and gone when nobody reads it.
"""

import tempfile

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_MOST_IN_MEMORY = 1 << 30
_FLOAT_BYTES = 4


def room(num_texts: int, width: int) -> Float[Tensor, "texts width"]:
    """Float32 numbers that are yet to be written; above 1 GiB in a file in ``TMPDIR``."""
    if num_texts * width * _FLOAT_BYTES <= _MOST_IN_MEMORY:
        return torch.empty(num_texts, width)
    with tempfile.TemporaryFile() as file:
        return torch.from_numpy(np.memmap(file, np.float32, "w+", shape=(num_texts, width)))
