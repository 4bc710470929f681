"""Kernels share the machine with PyTorch."""

import torch

from sparsefed.kernels import accumulate, top_k


def test_a_kernel_leaves_pytorchs_number_of_threads_as_it_was():
    before = torch.get_num_threads()
    vector = torch.randn(1 << 18)
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            top_k(vector, 100)
            accumulate(vector, vector, vector, 0.9)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
