"""Matrix products in full float32, and blocks of rows spread over threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

# Calls ``work(start, stop)`` on blocks of `size` of the rows 0..n, one block a thread: ``(work, n, size)``.
Workers = Callable[[Callable[[int, int], None], int, int], None]


@contextmanager
def full_precision() -> Iterator[None]:
    """Hold matrix products at float32: TF32 or bfloat16 products would break an error bound."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def workers() -> Iterator[Workers]:
    """Yield a callable that spreads blocks of rows over as many threads as torch computes with.

    Each thread takes the products of its own blocks alone, in full precision. Products shared by all threads
    end in a wait that spins while the kernels run, and take three times as long on two busy cores. The
    threads are Python's own: the kernels let go of the interpreter lock, and numba's thread layers do not
    survive a fork.
    """
    threads = torch.get_num_threads()
    with (
        full_precision(),
        ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):

        def run(work: Callable[[int, int], None], n: int, size: int) -> None:
            starts = range(0, n, size)
            for _ in pool.map(work, starts, [min(start + size, n) for start in starts]):
                pass

        try:
            yield run
        finally:
            pool.shutdown()
            # Setting it in a thread also sets what later threads begin with.
            torch.set_num_threads(threads)
