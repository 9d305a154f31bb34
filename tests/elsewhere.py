"""A device that is not here: its tensors keep their numbers apart, and nothing mixes them with the CPU's.

It stands in for CUDA where there is none, to prove that a training lays everything where it belongs. Operations on
tensors of both devices are refused as there, but for copies and for numbers without dimensions; so is numpy. Stricter
than CUDA, it also refuses indices of the CPU, since CUDA would wait for them. The arithmetic is the CPU's, bit for bit.
"""

from types import TracebackType
from typing import Any, Final, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

ELSEWHERE: Final = torch.device("lazy")
"""A name that torch knows without having kernels for it; its backward passes run in the calling thread."""
CPU: Final = torch.device("cpu")
COPIES: Final = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
READS: Final = (torch.ops.aten._local_scalar_dense.default,)


class Distant(Tensor):
    """A tensor elsewhere. ``near`` holds its numbers."""

    near: Tensor

    def __new__(cls, near: Tensor) -> Self:
        made = Tensor._make_wrapper_subclass(
            cls,
            near.shape,
            strides=near.stride(),
            storage_offset=near.storage_offset(),
            dtype=near.dtype,
            device=ELSEWHERE,
        )
        made.near = near
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} of a distant tensor outside of `Elsewhere`")


class Elsewhere(TorchDispatchMode):
    """While it is entered, the device is there. ``waits`` counts how often the CPU had to wait for its numbers."""

    def __init__(self, monkeypatch: Any) -> None:
        super().__init__()
        self.waits = 0
        self.autocasts: set[str] = set()
        monkeypatch.setattr(torch, "autocast", self.autocast)

    def autocast(self, device_type: str, dtype: torch.dtype) -> "NoAutocast":
        """Torch's refuses a device that it has no kernels for."""
        assert dtype is torch.bfloat16
        self.autocasts.add(device_type)
        return NoAutocast()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        distant = any(isinstance(tensor, Distant) for tensor in tensors)
        strangers = [tensor for tensor in tensors if not isinstance(tensor, Distant) and tensor.ndim]
        if distant and strangers and func not in COPIES:
            raise RuntimeError(f"{func}: tensors of {ELSEWHERE} and of the CPU, {[tuple(t.shape) for t in strangers]}")
        stays = distant
        if (wanted := kwargs.get("device")) is not None:
            stays = torch.device(wanted) == ELSEWHERE
            kwargs["device"] = CPU
        elif func is COPIES[1]:
            stays = isinstance(args[0], Distant)
        self.waits += distant and (func in READS or (func in COPIES and not stays))
        made = func(*tree_map_only(Distant, near_of, args), **tree_map_only(Distant, near_of, kwargs))
        if not stays:
            return made
        made = tree_map_only(Tensor, Distant, made)
        return return_and_correct_aliasing(func, args, kwargs, made) if distant else made


class NoAutocast:
    """Leaves everything in full precision."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def near_of(tensor: Tensor) -> Tensor:
    """The numbers of a distant tensor."""
    assert isinstance(tensor, Distant)
    return tensor.near
