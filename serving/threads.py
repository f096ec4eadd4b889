"""How many threads the numeric libraries use."""

import faiss
import torch
from threadpoolctl import threadpool_limits


def one_thread() -> None:
    """Keep the libraries to the thread that calls this: requests are small and many, and share the cores.

    OpenMP counts its threads per calling thread, so every thread that ranks has to ask for itself.
    """
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    threadpool_limits(1)  # lasts: nothing takes the limits back
