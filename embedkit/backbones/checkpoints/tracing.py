"""Tensors that remember which tensors of a file they were made of, through any conversion."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.utils import _pytree as pytree


class Traced(torch.Tensor):
    """A tensor with the names that it comes from; what is computed of it has them too."""

    made_of: frozenset[str]

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Compute, and hand the names on; what is written into a tensor makes it one of theirs."""
        names = _names((args, kwargs))
        made = super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]
        for tensor in pytree.tree_leaves(made):
            if isinstance(tensor, Traced):
                tensor.made_of = names
        if args and func in (torch.Tensor.__setitem__, torch.Tensor.copy_) and isinstance(args[0], Traced):
            args[0].made_of = names
        return made


def _names(values: Any) -> frozenset[str]:
    found = [
        getattr(leaf, "made_of", None) for leaf in pytree.tree_leaves(values) if isinstance(leaf, Traced)
    ]
    return frozenset().union(*(names for names in found if names))


def traced(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Give each tensor its own name to carry."""
    marked: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        one = tensor.detach().as_subclass(Traced)
        one.made_of = frozenset([name])
        marked[name] = one
    return marked


def sources(tensor: torch.Tensor) -> frozenset[str]:
    """Names of the tensors that this one was made of; empty where a conversion went through NumPy."""
    return getattr(tensor, "made_of", frozenset()) if isinstance(tensor, Traced) else frozenset()


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor without its names."""
    return tensor.as_subclass(torch.Tensor)
