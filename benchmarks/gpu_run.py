"""What the parts of `python -m benchmarks.gpu` share: flags, device, time that is left, random codes."""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from benchmarks import shared
from pyserini_jpq.encode.precision import resolve_device
from pyserini_jpq.scan.blocks import best_by_table
from pyserini_jpq.scan.device import by_subspace, kernels_work

KERNELS, TORCH = "ours, Triton", "ours, torch"

_SLICE = 32
_COPIED = 1 << 30
_LONG = 5000.0

Found = tuple[torch.Tensor, torch.Tensor]
Search = Callable[[torch.Tensor, torch.Tensor, int], Found]
"""Codes, tables and k to scores and rows."""


class Run:
    """Where and how long to measure.

    Attributes
    ----------
    device
        Of all that is measured.
    args
        The flags.
    wrong
        What was found to differ from the reference.
    floor
        Milliseconds to read all codes once, at the bandwidth of a copy.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self._end = time.monotonic() + args.seconds
        self.args, self.device = args, resolve_device(args.device)
        self.wrong: list[str] = []
        self._generator = torch.Generator(self.device).manual_seed(0)
        size = min(_COPIED, 4 * args.documents * args.m)
        source = torch.ones(size, dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        self.bandwidth = 2 * size / self.milliseconds(lambda: target.copy_(source)) * 1e3
        self.floor = 1e3 * args.documents * args.m / self.bandwidth

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self._end

    def now(self) -> float:
        """Return the time when the device has done what it was asked to."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def milliseconds(self, work: Callable[[], Any]) -> float:
        """Return the median time of a call, after one that does not count; of fewer rounds where they take long."""
        work()
        took: list[float] = []
        while not took or (len(took) < self.args.rounds and sum(took) < _LONG and not self.over):
            started = self.now()
            work()
            took.append(1e3 * (self.now() - started))
        return float(np.median(took))

    def ways(self, entries: int = 256) -> dict[str, Search]:
        """Return our ways to search that work here, by name."""
        ways: dict[str, Search] = {}
        if self.device.type == "cuda" and kernels_work(self.device, entries):
            from pyserini_jpq.scan.kernels import best_by_kernels

            ways[KERNELS] = best_by_kernels
        return ways | {TORCH: in_slices}

    def codes(self) -> torch.Tensor:
        """Return random codes, [N, M] uint8, laid out by subspace."""
        size = self.args.documents, self.args.m
        return by_subspace(torch.randint(256, size, dtype=torch.uint8, device=self.device, generator=self._generator))

    def vectors(self, count: int) -> np.ndarray:
        """Return random queries, [B, D] float32."""
        size = count, self.args.dimension
        return torch.randn(size, device=self.device, generator=self._generator).cpu().numpy()


def in_slices(codes: torch.Tensor, tables: torch.Tensor, k: int) -> Found:
    """Search by torch, as many queries at a time as `TorchEngine` takes."""
    scores, rows = zip(*(best_by_table(codes, part, k) for part in tables.split(_SLICE)), strict=True)
    return torch.cat(scores), torch.cat(rows)


@contextmanager
def guarded(table: shared.Printed, *cells: object) -> Iterator[None]:
    """Print why a row is missing, in place of its figures: memory that is full, a library that refuses."""
    try:
        yield
    except (RuntimeError, AssertionError, MemoryError, ImportError) as problem:
        lines: Sequence[str] = str(problem).strip().splitlines() or [type(problem).__name__]
        print(*cells, f"- ({lines[0][:90]})", flush=True)
