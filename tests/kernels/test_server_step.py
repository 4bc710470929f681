import pytest
import torch

from sparsefed.kernels import accumulate


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 1000, 100_003])
def test_the_fused_step_is_the_two_lines_of_the_paper_bit_for_bit(size: int, dtype: torch.dtype) -> None:
    velocity, error, mean = torch.randn(3, size, dtype=dtype, generator=torch.Generator().manual_seed(size))
    before = velocity.clone(), error.clone(), mean.clone()
    new_velocity, new_error = accumulate(velocity, error, mean, 0.9)
    assert torch.equal(new_velocity, 0.9 * velocity + mean)
    assert torch.equal(new_error, error + new_velocity)
    for now, then in zip((velocity, error, mean), before, strict=True):
        assert torch.equal(now, then)  # the inputs are left as they were


@pytest.mark.parametrize("size", [1000, 100_003])
def test_a_forgetting_error_is_its_line_bit_for_bit(size: int) -> None:
    velocity, error, mean = torch.randn(3, size, generator=torch.Generator().manual_seed(size))
    new_velocity, new_error = accumulate(velocity, error, mean, 0.9, decay=0.97)
    assert torch.equal(new_error, 0.97 * error + new_velocity)


def test_strided_memories_step_the_same() -> None:
    parts = torch.randn(3, 200_000, generator=torch.Generator().manual_seed(0))
    strided = accumulate(*parts[:, ::2], 0.5)
    contiguous = accumulate(*parts[:, ::2].clone(memory_format=torch.contiguous_format), 0.5)
    assert all(torch.equal(a, b) for a, b in zip(strided, contiguous, strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_steps_the_same() -> None:
    parts = torch.randn(3, 100_000, generator=torch.Generator().manual_seed(0))
    for cpu, gpu in zip(accumulate(*parts, 0.9), accumulate(*parts.cuda(), 0.9), strict=True):
        torch.testing.assert_close(gpu.cpu(), cpu)
