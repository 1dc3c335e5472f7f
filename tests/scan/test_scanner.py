"""The compiled scan against the reference, bit for bit, with every kernel that this machine can run."""

import os
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserini_jpq.errors import InstallationError, QuantizerError
from pyserini_jpq.quantizer import ProductQuantizer
from pyserini_jpq.scan import PQScanner, available, in_blocks
from pyserini_jpq.scan.scanner import KERNEL_VARIABLE, kernels

needs_extension = pytest.mark.skipif(not available(), reason="the extension was not built: no C++ compiler")
MODES = ["normal", "ties", "equal", "offset", "tiny", "huge", "wide entries", "wide subspaces"]


class Reference(ProductQuantizer):
    """The reference search over tables that are given."""

    def __post_init__(self):
        pass

    def lookup_tables(self, queries):
        return queries


def packed(codes):  # 4 bits: two in a byte, the first in its low half
    codes = np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))
    return np.ascontiguousarray(codes[:, ::2] | codes[:, 1::2] << 4)


def reference(tables, codes, k):
    quantizer = Reference(np.eye(1, dtype=np.float32), np.zeros((codes.shape[1], 2, 1), dtype=np.float32))
    return quantizer.search(tables, codes, k)


def make_tables(rng, shape, mode):
    tables = rng.normal(size=shape)
    if mode == "ties":
        tables = np.round(tables)
    if mode == "equal":
        tables *= 0
    if mode == "offset":
        tables += 1e6
    if mode == "tiny":
        tables *= 1e-40
    if mode == "huge":
        tables *= 1e33
    if mode == "wide entries":
        tables *= np.exp(8 * rng.normal(size=shape))
    if mode == "wide subspaces":
        tables *= np.exp(10 * rng.normal(size=(*shape[:2], 1)))
    return tables.astype(np.float32)


@st.composite
def cases(draw):
    documents = draw(st.sampled_from([0, 1, 5, 63, 64, 65, 511, 512, 513, 1500, 8192, 8193, 12_000]))
    m = draw(st.sampled_from([1, 2, 3, 8, 15, 16, 17, 24, 31, 32, 33, 48, 65, 96, 130]))
    k = draw(st.sampled_from([256, 256, 16, 2, 100]))
    bits = draw(st.sampled_from([8, 4])) if k <= 16 else 8
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    codes = rng.integers(0, k, (documents, m)).astype(np.uint8)
    if documents and draw(st.booleans()):  # duplicate documents
        codes = codes[rng.integers(0, max(1, documents // 10), documents)]
    tables = make_tables(rng, (draw(st.sampled_from([1, 2, 5, 33])), m, k), draw(st.sampled_from(MODES)))
    return codes, bits, tables, draw(st.sampled_from([1, 3, 10, 100, 1000, 7000])), draw(st.integers(1, 3))


@needs_extension
@pytest.mark.property
@settings(max_examples=60)
@given(cases())
def test_every_kernel_equals_the_reference(case):
    codes, bits, tables, k, threads = case
    check_every_kernel(codes, bits, tables, k, threads)


def check_every_kernel(codes, bits, tables, k, threads):
    expected_scores, expected_rows = reference(tables, codes, k)
    stored = codes if bits == 8 else packed(codes)
    for kernel in kernels():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(KERNEL_VARIABLE, kernel)
            for scanner in (PQScanner(stored, bits), PQScanner(in_blocks(stored), bits)):
                scores, rows = scanner.search(tables, k, threads)
                assert np.array_equal(scores, expected_scores), kernel
                assert np.array_equal(rows, expected_rows), kernel
                assert scores.dtype == np.float32 and rows.dtype == np.int64


@needs_extension
@pytest.mark.unit
@pytest.mark.parametrize(("bits", "queries"), [(8, 1), (8, 6), (4, 2), (4, 17)])
@pytest.mark.parametrize("misleading", [False, True])
def test_a_sample_that_misleads_loses_nothing(bits, queries, misleading):
    groups, sampled = 140, 16  # as search.cpp chooses them
    rng = np.random.default_rng(bits + queries)
    k = 1 << bits
    codes = rng.integers(0, k // 2, (groups * 512, 3)).astype(np.uint8)
    tables = np.sort(make_tables(rng, (queries, 3, k), "normal"), axis=2)  # larger codes, larger scores
    if misleading:  # nearly all of the best documents are where the sample looks, so that their share seems larger
        best = [(2 * i + 1) * groups // (2 * sampled) for i in range(sampled)]
        codes.reshape(groups, 512, 3)[best] += k // 2
    check_every_kernel(codes, bits, tables, 7000, 2)


@pytest.mark.property
@given(
    st.sampled_from([0, 1, 511, 512, 513, 1500, 8191, 8192, 8193, 20_000]),
    st.sampled_from([1, 3, 16, 31, 32, 33, 65, 96]),
    st.integers(0, 2**32 - 1),
)
def test_blocks_hold_the_codes_of_each_document(documents, m, seed):
    codes = np.random.default_rng(seed).integers(1, 256, (documents, m)).astype(np.uint8)
    blocks = in_blocks(codes)
    assert blocks.data.size == -(-documents // 512) * 512 * m and blocks.data.flags.c_contiguous
    assert np.array_equal(blocks.of(np.arange(documents)), codes)
    assert np.count_nonzero(blocks.data) == codes.size  # what is beyond the last document is 0


@pytest.mark.unit
def test_blocks_are_read_strip_by_strip():
    codes = np.arange(9000 * 48).reshape(9000, 48).astype(np.uint8)
    data = in_blocks(codes).data
    strips = data[: 8192 * 48].reshape(2, 16, 24, 512)  # strip, group, subspace, document
    assert np.array_equal(strips.transpose(1, 3, 0, 2).reshape(8192, 48), codes[:8192])
    rest = data[8192 * 48 :].reshape(2, 2, 24, 512).transpose(1, 3, 0, 2).reshape(1024, 48)
    assert np.array_equal(rest[:808], codes[8192:]) and not rest[808:].any()


@needs_extension
@pytest.mark.unit
def test_many_documents_pass_through_several_rounds():
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 256, (60_000, 4)).astype(np.uint8)
    codes[40_000:] = codes[:20_000]
    tables = make_tables(rng, (40, 4, 256), "normal")
    expected = reference(tables, codes, 300)
    for threads in (1, 2):
        for scanner in (PQScanner(codes), PQScanner(in_blocks(codes))):
            for found, right in zip(scanner.search(tables, 300, threads), expected, strict=True):
                assert np.array_equal(found, right)


@needs_extension
@pytest.mark.unit
def test_codes_that_rise_in_score_are_the_worst_case_and_right():
    codes = np.repeat(np.arange(256, dtype=np.uint8), 20)[:, None]
    tables = np.arange(256, dtype=np.float32)[None, None]
    for scanner in (PQScanner(codes), PQScanner(in_blocks(codes))):
        scores, rows = scanner.search(tables, 30)
        assert scores.tolist() == [[255.0] * 20 + [254.0] * 10]
        assert rows.tolist() == [[*range(5100, 5120), *range(5080, 5090)]]


@needs_extension
@pytest.mark.unit
def test_what_cannot_be_is_refused():
    codes = np.zeros((10, 3), dtype=np.uint8)
    scanner = PQScanner(codes)
    tables = np.zeros((2, 3, 256), dtype=np.float32)
    for bad in (np.nan, np.inf, -np.inf, 3e38):
        wrong = tables.copy()
        wrong[1, 2, 7] = bad
        with pytest.raises(QuantizerError, match="query 1 are not finite, or so large"):
            scanner.search(wrong, 5)
    for shape in ((2, 4, 256), (3, 256), (2, 3, 257), (2, 3, 0)):
        with pytest.raises(QuantizerError, match="do not fit"):
            scanner.search(np.zeros(shape, dtype=np.float32), 5)
    for numbers in ((0, 1), (1, 0)):
        with pytest.raises(QuantizerError, match="at least 1"):
            scanner.search(tables, *numbers)
    for wrong in (codes.astype(np.int8), codes[0], codes[:, ::2], np.asfortranarray(codes)):
        with pytest.raises(QuantizerError, match="expected"):
            PQScanner(wrong)
    blocks = in_blocks(np.zeros((600, 3), dtype=np.uint8))
    for wrong in (replace(blocks, documents=512), replace(blocks, m=4), replace(blocks, data=blocks.data[:-1])):
        with pytest.raises(QuantizerError, match="expected blocks uint8"):
            PQScanner(wrong)
    assert PQScanner(blocks).search(tables, 700)[1].shape == (2, 600)
    assert scanner.search(tables[:0], 5)[0].shape == (0, 5)
    with pytest.raises(QuantizerError, match=r"documents of 3 bytes of codes of 4 bits"):
        PQScanner(codes, 4).search(tables, 5)
    with pytest.raises(QuantizerError, match="codes of 8 or 4 bits"):
        PQScanner(codes, 1).search(np.zeros((1, 24, 2), dtype=np.float32), 5)
    with pytest.raises(QuantizerError, match="M must be from 1 to 16384"):
        PQScanner(np.zeros((1, 0), dtype=np.uint8)).search(np.zeros((1, 0, 256), dtype=np.float32), 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KERNEL_VARIABLE, "abacus")
        with pytest.raises(QuantizerError, match=r"no kernel abacus .* plain"):
            scanner.search(tables, 5)


@needs_extension
@pytest.mark.unit
def test_tensors_are_searched_in_place_and_threads_do_not_disturb_each_other():
    import torch

    rng = np.random.default_rng(2)
    codes = torch.from_numpy(rng.integers(0, 256, (5000, 24)).astype(np.uint8))
    scanner = PQScanner(codes)
    assert np.shares_memory(scanner.codes, codes.numpy())
    tables = make_tables(rng, (8, 24, 256), "normal")
    expected = reference(tables, codes.numpy(), 50)
    results = [None] * 4

    def search(i):
        results[i] = scanner.search(torch.from_numpy(tables), 50, 2)

    threads = [threading.Thread(target=search, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for scores, rows in results:
        assert np.array_equal(scores, expected[0]) and np.array_equal(rows, expected[1])
    codes[7] = codes[0]
    assert np.array_equal(scanner.search(tables, 50)[1], reference(tables, codes.numpy(), 50)[1])


@pytest.mark.integration
def test_without_the_extension_one_line_says_so(monkeypatch):
    monkeypatch.setenv(KERNEL_VARIABLE, "off")
    assert not available() and kernels() == []
    with pytest.raises(InstallationError, match="install a C\\+\\+ compiler"):
        PQScanner(np.zeros((1, 1), dtype=np.uint8))


@pytest.mark.integration
def test_import_loads_nothing_heavy():
    code = "import sys, pyserini_jpq.scan; print(sorted({'torch', 'faiss', 'jnius', 'pyserini'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@needs_extension
@pytest.mark.integration
def test_where_no_thread_can_be_started_fewer_do_the_work():
    resource = pytest.importorskip("resource")
    code = """
import os, resource
import numpy as np
from pyserini_jpq.scan.scanner import _native
codes = np.random.default_rng(0).integers(0, 256, (300_000, 8), dtype=np.uint8)
tables = np.random.default_rng(1).normal(size=(32, 8, 256)).astype(np.float32)
one = _native().search(codes, len(codes), False, 8, tables, 10, 1, "")
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, resource.RLIM_INFINITY))
many = _native().search(codes, len(codes), False, 8, tables, 10, 30, "")
print(all(np.array_equal(a, b) for a, b in zip(one, many)))
"""

    def large_stacks():
        resource.setrlimit(resource.RLIMIT_STACK, (1 << 30, resource.getrlimit(resource.RLIMIT_STACK)[1]))

    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, preexec_fn=large_stacks
    )
    assert done.stdout.strip() == "True", done.stderr
