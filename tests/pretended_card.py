"""A CUDA device that is none: what is said to lie on it lies in memory and is computed by the CPU.

So the branches that a card takes run where there is none, and a tensor that was left on the other side is an
error as on a real one: operands of two devices, `numpy()` of a tensor of the card. Not pretended are speed,
streams, compilers and the card's own arithmetic; what waits for an event has happened. Gradients are zeros.
"""

import contextlib
import threading
from types import SimpleNamespace

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

from embedkit.computing import driver

aten = torch.ops.aten
# What takes tensors of two devices: copies, and a tensor of the card with an index from memory.
COPIES = {aten._to_copy, aten.copy_}
INDEXED = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}


class OnCard(torch.Tensor):
    """A tensor that says it lies on the card, around one that lies in memory."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device="cuda:0",
            requires_grad=False,
        )

    def __init__(self, inner):
        self.inner = inner

    def __repr__(self):
        return f"OnCard({self.inner!r})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return dispatched(func, args, kwargs or {})


def dispatched(func, args, kwargs):
    """Compute on the CPU; results lie where CUDA would have left them."""
    given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    cards = [x for x in given if isinstance(x, OnCard)]
    name = func.overloadpacket
    if cards and name not in COPIES and not (name in INDEXED and isinstance(args[0], OnCard)):
        beside = [x for x in given if not isinstance(x, OnCard) and x.dim()]
        if beside:
            shapes = [tuple(x.shape) for x in beside]
            raise RuntimeError(
                f"Expected all tensors to be on the same device: {func} of {shapes} in memory."
            )
    device = kwargs.get("device")
    there = bool(cards) if device is None else torch.device(device).type == "cuda"
    if name in (aten._local_scalar_dense, aten.equal, aten.is_pinned):
        there = False
    if name is aten.copy_:
        there = isinstance(args[0], OnCard)
    inner_args, inner_kwargs = tree_map(lambda x: x.inner if isinstance(x, OnCard) else x, (args, kwargs))
    if device is not None and torch.device(device).type == "cuda":
        inner_kwargs["device"] = "cpu"
    if inner_kwargs.get("pin_memory"):
        inner_kwargs["pin_memory"] = False
    out = func(*inner_args, **inner_kwargs)
    if not there:
        return out
    # A view of a tensor from outside of inference mode is none of that mode.
    with torch.inference_mode(False):
        wrapped = tree_map(lambda x: OnCard(x) if isinstance(x, torch.Tensor) else x, out)
    return return_and_correct_aliasing(func, args, kwargs, wrapped) if cards else wrapped


class Pretending(TorchDispatchMode):
    """Has tensors be made on the card in this thread."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return dispatched(func, args, kwargs or {})


class Event:
    """One that has happened."""

    def __init__(self, *given, **how):
        pass

    def synchronize(self):
        pass

    def elapsed_time(self, later):
        return 1.0


class Stream:
    """One that never lags behind."""

    def __init__(self, *given, **how):
        pass

    def record_event(self, event=None):
        return event or Event()

    def wait_event(self, event):
        pass


class Generator(torch.Generator):
    """One of a CPU, for whichever device it is asked."""

    def __new__(cls, device="cpu"):
        return super().__new__(cls, "cpu")


def backward(loss, *given, **how):
    """Give every leaf behind a loss a gradient of zeros: the engine itself asks for a driver."""
    waiting, seen = [loss.grad_fn], set()
    while waiting:
        function = waiting.pop()
        if function is None or function in seen:
            continue
        seen.add(function)
        leaf = getattr(function, "variable", None)
        if leaf is not None and leaf.grad is None:
            leaf.grad = torch.zeros_like(leaf)
        waiting += [before for before, _ in function.next_functions]


@contextlib.contextmanager
def pretended(monkeypatch):
    """Have PyTorch see one card, in this thread and in those that begin inside."""
    monkeypatch.setattr(driver, "has_cuda_driver", lambda: True)
    free = 80 * 2**30
    for name, value in {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": lambda device: None,
        "get_device_name": lambda device=None: "a pretended card",
        "get_device_capability": lambda device=None: (9, 0),
        "get_device_properties": lambda device=None: SimpleNamespace(major=9, minor=0),
        "mem_get_info": lambda device=None: (free, free),
        "memory_allocated": lambda device=None: 0,
        "memory_reserved": lambda device=None: 0,
        "max_memory_allocated": lambda device=None: 0,
        "reset_peak_memory_stats": lambda device=None: None,
        "empty_cache": lambda: None,
        "synchronize": lambda device=None: None,
        "Event": Event,
        "Stream": Stream,
        "current_stream": lambda device=None: Stream(),
        "stream": lambda stream: contextlib.nullcontext(),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.backends.cudnn, "enabled", False)
    monkeypatch.setattr(torch, "Generator", Generator)
    monkeypatch.setattr(torch.Tensor, "backward", backward)
    monkeypatch.setattr(torch.autograd, "backward", backward)
    monkeypatch.setattr(
        torch.autograd, "grad", lambda loss, inputs, *a, **k: tuple(map(torch.zeros_like, inputs))
    )
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: None)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self, device=None: self)
    run = threading.Thread.run

    def pretending(thread):
        with _here():
            run(thread)

    monkeypatch.setattr(threading.Thread, "run", pretending)
    overwritten = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with _here():
            yield torch.device("cuda")
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(overwritten)


@contextlib.contextmanager
def _here():
    """Have this thread ask no driver, as FakeTensorMode does."""
    torch._C._ensureCUDADeviceGuardSet()
    lifted = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        with Pretending():
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(lifted)
