"""The kernels of GPUs: by Triton's interpreter on the CPU, in a process of its own; and on a GPU where there is one."""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from pyserini_jpq.quantizer import best_of_blocks
from pyserini_jpq.scan import device
from pyserini_jpq.scan.blocks import best_by_table
from pyserini_jpq.scan.device import best_on_device, by_subspace, kernels_work

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu")

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
runs_kernels = pytest.mark.skipif(
    find_spec("triton") is None or (not INTERPRETED and DEVICE.type == "cpu"),
    reason="no Triton, or neither a GPU nor its interpreter; the latter is tried in a process of its own",
)


def problem(documents, m=3, entries=256, queries=2, whole=False, seed=0):
    """Make codes and tables; entries that are small whole numbers make many equal scores."""
    chance = np.random.default_rng(seed)
    codes = chance.integers(0, entries, (documents, m), dtype=np.uint8)
    tables = chance.normal(size=(queries, m, entries)).astype(np.float32)
    return codes, np.round(tables) if whole else tables


def reference(codes, tables, k):
    """Search as `ProductQuantizer.search` does, given the lookup tables."""
    scores = np.zeros((len(tables), len(codes)), dtype=np.float32)
    for j in range(codes.shape[1]):
        scores += tables[:, j, codes[:, j]]
    rows = np.broadcast_to(np.arange(len(codes)), scores.shape)
    return best_of_blocks([(scores, rows)], len(tables), k)


def check(search, codes, tables, k):
    laid = by_subspace(torch.from_numpy(codes), DEVICE)
    scores, rows = (found.cpu().numpy() for found in search(laid, torch.from_numpy(tables).to(DEVICE), k))
    expected, expected_rows = reference(codes, tables, k)
    assert np.array_equal(scores, expected) and np.array_equal(rows, expected_rows)


CASES = [
    {"documents": 1, "k": 5},
    {"documents": 127, "k": 1000, "m": 1},
    {"documents": 128, "k": 128, "queries": 3, "whole": True},
    {"documents": 129, "k": 1, "entries": 16, "m": 7},
    {"documents": 1024, "k": 10, "whole": True, "m": 2},
    {"documents": 3000, "k": 10, "queries": 33, "m": 2, "whole": True},
    {"documents": 3000, "k": 2999, "entries": 16, "whole": True},
    {"documents": 2049, "k": 20, "queries": 2, "m": 40},
    {"documents": 0, "k": 3},
]


@runs_kernels
@pytest.mark.unit
@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_find_what_the_reference_finds_with_ties_by_row(case):
    from pyserini_jpq.scan.kernels import best_by_kernels

    case = dict(case)
    k = case.pop("k")
    check(best_by_kernels, *problem(**case), k)


@runs_kernels
@pytest.mark.unit
@pytest.mark.parametrize("size", [128, 512])
def test_any_number_of_documents_a_program(size):
    from pyserini_jpq.scan.kernels import best_of_groups

    codes, tables = problem(1500, queries=3)
    laid = by_subspace(torch.from_numpy(codes), DEVICE)
    found = best_of_groups(laid, torch.from_numpy(tables).to(DEVICE), size).cpu().numpy()
    scores, rows = reference(codes, tables, len(codes))
    by_row = np.pad(np.take_along_axis(scores, rows.argsort(1), 1), ((0, 0), (0, 36)), constant_values=-np.inf)
    assert np.array_equal(found, by_row.reshape(3, 12, 128).max(2))


@runs_kernels
@pytest.mark.unit
@pytest.mark.parametrize("entries", [16, 256])
def test_the_check_of_the_kernels_passes(entries):
    assert kernels_work(DEVICE, entries)


@runs_kernels
@pytest.mark.unit
def test_kernels_that_find_something_else_are_not_used(monkeypatch, caplog):
    from pyserini_jpq.scan import kernels

    monkeypatch.setattr(kernels, "best_by_kernels", lambda codes, tables, k: best_by_table(codes, -tables, k))
    assert not kernels_work.__wrapped__(DEVICE, 16) and "they find other documents" in caplog.text
    monkeypatch.setattr(kernels, "best_by_kernels", lambda codes, tables, k: 1 / 0)
    assert not kernels_work.__wrapped__(DEVICE, 16) and "division by zero" in caplog.text


@needs_triton
@pytest.mark.integration
@pytest.mark.skipif(INTERPRETED or DEVICE.type == "cuda", reason="they run here")
def test_by_the_interpreter():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", __file__]
    run = subprocess.run(command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert run.returncode == 0 and "passed" in run.stdout, run.stdout + run.stderr


@needs_triton
@pytest.mark.integration
@pytest.mark.skipif(INTERPRETED, reason="the interpreter compiles nothing")
@pytest.mark.parametrize("capability", [80, 90])
def test_kernels_compile_for_gpus_that_are_not_here(capability):
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from pyserini_jpq.scan import kernels

    target = GPUTarget("cuda", capability, 32)
    sizes = dict.fromkeys(("stride", "documents", "subspaces", "entries", "groups"), "i32")
    pointers = {"codes": "*u8", "tables": "*fp32", "best": "*fp32", "chosen": "*i64", "scores": "*fp32"}
    for kernel, warps, constants in (
        (kernels._best_of_groups, kernels.WARPS, {"QUERIES": 32, "DOCUMENTS": kernels.DOCUMENTS, "GROUP": 128}),
        (kernels._scores_of_groups, 4, {"GROUP": 128}),
    ):
        signature = {n: (sizes | pointers).get(n, "constexpr") for n in kernel.arg_names}
        made = compile(ASTSource(kernel, signature, constants), target=target, options={"num_warps": warps})
        assert made.metadata.shared < 48 << 10 and made.asm["cubin"]


@pytest.mark.unit
@pytest.mark.parametrize("whole", [False, True])
def test_torch_finds_what_the_reference_finds_with_ties_by_row(monkeypatch, whole):
    from pyserini_jpq.scan import blocks

    monkeypatch.setattr(blocks, "_BLOCK", 700)
    check(best_on_device, *problem(3000, m=4, queries=3, whole=whole), 50)


@pytest.mark.unit
def test_codes_by_subspace_are_the_same_codes(monkeypatch):
    monkeypatch.setattr(device, "_BLOCK", 500)
    codes = torch.from_numpy(problem(1300, m=5)[0])
    laid = by_subspace(codes)
    assert torch.equal(laid, codes) and laid.stride() == (1, 2048)
