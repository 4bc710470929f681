"""Where a convolution looks, whatever its dimensions, padding and groups."""

from typing import Any, NamedTuple

from torch import Tensor
from torch.nn import functional

from sparsefed.clients.ghost.base import UnsupportedError
from sparsefed.kernels.patches import Geometry

__all__ = ["Places", "as_images", "per_group"]


class Places(NamedTuple):
    """A geometry, and the padding that it cannot say, which is added to the images first."""

    geometry: Geometry
    mode: str
    around: tuple[int, ...]
    """As `functional.pad` takes it: left, right, above, below."""

    @classmethod
    def of(cls, module: Any) -> "Places":
        """Of a convolution or a transposed one, in one or two dimensions."""
        kernel, stride, dilation = (
            _pair(part, 1) for part in (module.kernel_size, module.stride, module.dilation)
        )
        reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        before, after = [0, 0], [0, 0]
        if module.padding == "same":
            before, after = [r // 2 for r in reach], [r - r // 2 for r in reach]
        elif module.padding != "valid":
            before = after = list(_pair(module.padding, 0))
        bias = module.bias is not None and not module.transposed
        if module.padding_mode == "zeros" and before == after:
            return cls(Geometry(kernel, stride, (before[0], before[1]), dilation, bias), "constant", ())
        mode = {"zeros": "constant"}.get(module.padding_mode, module.padding_mode)
        around = (before[1], after[1], before[0], after[0])
        return cls(Geometry(kernel, stride, (0, 0), dilation, bias), mode, around)

    def padded(self, images: Tensor) -> Tensor:
        """`[examples, channels, rows, columns]` with what stands around them."""
        if not self.around:
            return images
        if images.shape[2] == 1 and not any(self.around[2:]):  # some modes want their axes to have room
            return functional.pad(images.squeeze(2), self.around[:2], self.mode).unsqueeze(2)
        return functional.pad(images, self.around, self.mode)


def as_images(tensor: Tensor) -> Tensor:
    """Sequences `[examples, channels, length]` as images of one row; images as they are."""
    if tensor.ndim not in {3, 4}:
        raise UnsupportedError("a convolution reads something other than a batch of sequences or images")
    return tensor.unsqueeze(2) if tensor.ndim == 3 else tensor


def per_group(images: Tensor, clients: int, groups: int) -> Tensor:
    """Every group of a client's channels as a client of its own, `[clients · groups · images, ...]`."""
    if groups == 1:
        return images
    apart = images.unflatten(1, (groups, -1)).unflatten(0, (clients, -1))
    return apart.transpose(1, 2).flatten(0, 2)


def _pair(sizes: tuple[int, ...], other: int) -> tuple[int, int]:
    """(rows, columns) of a setting; in one dimension rows have the `other`, neutral one."""
    rows, columns = sizes if len(sizes) == 2 else (other, *sizes)
    return rows, columns
