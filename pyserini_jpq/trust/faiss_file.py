"""The sizes that a faiss file claims, compared with its length before faiss reads it.

faiss allocates as much memory as a file claims to need, before it finds that the values are missing. Here only the
claims are read; their layout is that of `index_write.cpp` in faiss 1.8 to 1.15, for the types that we write and import.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pyserini_jpq.errors import IndexFolderError
from pyserini_jpq.files import regular

_L2 = 1
_MOST_DIMENSIONS = 1 << 20
_DEEPEST = 6
_OTHERS = """
IxFI IndexFlatIP, IxF2 IndexFlatL2, IxFl IndexFlat, IHNf IndexHNSWFlat, IHNp IndexHNSWPQ, IHNs IndexHNSWSQ,
IHN2 IndexHNSW2Level, INSf IndexNSGFlat, IxSQ IndexScalarQuantizer, IxHe IndexLSH, IwFl IndexIVFFlat,
IwFd IndexIVFFlatDedup, IwSq IndexIVFScalarQuantizer, IwPf IndexIVFPQFastScan, IwQR IndexIVFPQR, IPfs IndexPQFastScan,
IxRQ IndexResidualQuantizer, IxRq IndexResidualQuantizer, IxRF IndexRefine, IxRr IndexRefine, IBxF IndexBinaryFlat
"""
_OTHER_NAMES = dict(pair.split() for pair in _OTHERS.split(","))
"""Types by their first four bytes that are named in messages and not read."""


@dataclass(frozen=True)
class FaissLayout:
    """The content of a faiss file, checked against the file's length.

    Attributes
    ----------
    kind
        `IndexPQ`, `IndexIVFPQ`, or the name of another innermost index, which was not read.
    documents, dimension
        N and D of the outermost index.
    m, bits, bytes_per_document
        Of the codes; 0 where there are none.
    known
        Whether the whole file was read.
    """

    kind: str
    documents: int
    dimension: int
    m: int = 0
    bits: int = 0
    bytes_per_document: int = 0
    known: bool = True


def faiss_layout(path: Path) -> FaissLayout:
    """Return the claims of a faiss file, checked against its length and each other.

    Raises
    ------
    IndexFolderError
        If they do not fit.
    """
    with open(path, "rb", opener=regular(IndexFolderError)) as file:
        size = path.stat().st_size
        reader = _Claims(file, size)
        try:
            layout = reader.index(_DEEPEST)
            if layout.known and reader.left():
                raise _Wrong(f"it goes on for {reader.left()} bytes after its end")
        except _Wrong as problem:
            raise IndexFolderError(f"{path} is no faiss index, or damaged: {problem}") from None
    return layout


class _Wrong(Exception):
    """A claim does not fit."""


def _check(fits: bool, what: str) -> None:
    if not fits:
        raise _Wrong(what)


class _Claims:
    """Reads the claims of a file from front to back and skips the values between them."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._size = file, size

    def left(self) -> int:
        """Return the bytes that are left."""
        return self._size - self._file.tell()

    def index(self, depth: int) -> FaissLayout:
        """Read one index, with those inside."""
        _check(depth > 0, "indexes inside of indexes without end")
        kind = self._take(4)
        reader = self._readers().get(kind)
        if reader is None:
            name = _OTHER_NAMES.get(kind.decode("latin1"))
            _check(name is not None, f"it begins with {kind!r}, which is no kind that is known here")
            return FaissLayout(str(name), 0, 0, known=False)
        documents, dimension = self._header()
        found = reader(documents, dimension, depth)
        _check(found.documents == documents or not found.known, "two counts of documents that differ")
        return FaissLayout(found.kind, documents, dimension, found.m, found.bits, found.bytes_per_document, found.known)

    def _readers(self) -> dict[bytes, Callable[[int, int, int], FaissLayout]]:
        flat = dict.fromkeys((b"IxFI", b"IxF2", b"IxFl"), self._flat)
        ours: dict[bytes, Callable[[int, int, int], FaissLayout]] = {
            b"IxPT": self._transformed,
            b"IxPq": self._pq,
            b"IwPQ": self._ivfpq,
            b"IxMp": self._id_map,
            b"IxM2": self._id_map,
        }
        return {**flat, **ours}

    def _header(self) -> tuple[int, int]:
        dimension, documents, _, _, _, metric = self._unpack("<iqqq?i")
        _check(0 < dimension <= _MOST_DIMENSIONS and documents >= 0, f"{dimension} dimensions, {documents} documents")
        if metric > _L2:
            self._take(4)
        return documents, dimension

    def _flat(self, documents: int, dimension: int, _: int) -> FaissLayout:
        self._vector(4, documents * dimension, "vectors")
        return FaissLayout("IndexFlat", documents, dimension)

    def _pq(self, documents: int, dimension: int, _: int) -> FaissLayout:
        m, bits, size = self._quantizer(dimension)
        self._vector(1, documents * size, "codes")
        self._unpack("<i?i")
        return FaissLayout("IndexPQ", documents, dimension, m, bits, size)

    def _ivfpq(self, documents: int, dimension: int, depth: int) -> FaissLayout:
        lists, _ = self._unpack("<QQ")
        coarse = self.index(depth - 1)
        _check(coarse.known, f"lists behind a quantizer of the kind {coarse.kind}, which is not known here")
        _check(coarse.documents == lists and coarse.dimension == dimension, "lists that its quantizer does not know")
        self._direct_map(documents)
        _, noted = self._unpack("<?Q")
        m, bits, size = self._quantizer(dimension)
        _check(noted == size, f"codes of {noted} bytes for {m} parts of {bits} bits")
        self._lists(lists, size, documents)
        return FaissLayout("IndexIVFPQ", documents, dimension, m, bits, size)

    def _id_map(self, documents: int, dimension: int, depth: int) -> FaissLayout:
        found = self._within(dimension, depth)
        if found.known:
            self._vector(8, documents, "ids")
        return found

    def _transformed(self, documents: int, dimension: int, depth: int) -> FaissLayout:
        (steps,) = self._unpack("<i")
        _check(0 <= steps <= 8, f"{steps} transforms")
        for _ in range(steps):
            dimension = self._transform(dimension)
        return self._within(dimension, depth)

    def _within(self, dimension: int, depth: int) -> FaissLayout:
        found = self.index(depth - 1)
        fits = not found.known or found.dimension == dimension
        _check(fits, f"an index of {found.dimension} dimensions where {dimension} come in")
        return found

    def _transform(self, dimension: int) -> int:
        """Read a transform of vectors; return the number of dimensions after it."""
        kind = self._take(4)
        held: list[tuple[str, int, str]] = []  # counts that must equal the dimensions "in" or "out"
        if kind == b"Pcam":
            self._unpack("<ff?i")
            for _ in range(3):
                self._vector(4)
        if kind in (b"LTra", b"rrot", b"Pcam"):
            (biased,) = self._unpack("<?")
            values, shift = self._vector(4), self._vector(4)
        elif kind == b"RmDT":
            held.append(("out", self._vector(4), "places"))
        elif kind == b"VCnt":
            held.append(("in", self._vector(4), "means"))
        elif kind == b"VNrm":
            self._take(4)
        else:
            raise _Wrong(f"a transform {kind!r}, which is not known here")
        before, after, _ = self._unpack("<ii?")
        fits = before == dimension and 0 < after <= _MOST_DIMENSIONS
        _check(fits, f"a transform from {before} to {after} dimensions")
        if kind in (b"LTra", b"rrot", b"Pcam"):
            _check(values == before * after, f"a matrix of {values} values from {before} to {after} dimensions")
            _check(shift in ((after,) if biased else (0, after)), f"{shift} values added to {after} dimensions")
        for side, count, what in held:
            _check(count == (before if side == "in" else after), f"{count} {what} from {before} to {after} dimensions")
        return int(after)

    def _quantizer(self, dimension: int) -> tuple[int, int, int]:
        """Read a product quantizer; return M, the bits of a code, and the bytes of a document."""
        d, m, bits = self._unpack("<QQQ")
        _check(d == dimension and 0 < m <= d and d % m == 0, f"{m} parts of {d} dimensions, of {dimension}")
        _check(0 < bits <= 24, f"codes of {bits} bits")
        self._vector(4, d << bits, "centroids")
        return m, bits, math.ceil(m * bits / 8)

    def _direct_map(self, documents: int) -> None:
        (kind,) = self._unpack("<b")
        _check(kind in (0, 1, 2), f"a map of kind {kind}")
        count = self._vector(8)
        _check(count == (documents if kind == 1 else 0), f"a map of {count} documents, of {documents}")
        if kind == 2:
            self._vector(16)

    def _lists(self, lists: int, code_size: int, documents: int) -> None:
        kind = self._take(4)
        if kind == b"ilod":
            raise _Wrong("its lists lie in another file, which is not opened; merge them into one")
        _check(kind == b"ilar", f"lists of the kind {kind!r}, which is not known here")
        count, size, how = self._unpack("<QQ4s")
        _check(count == lists and size == code_size, f"{count} lists of codes of {size} bytes")
        sizes = self._list_sizes(how, lists)
        _check(sum(sizes) == documents, f"{sum(sizes)} documents in lists, of {documents}")
        self._step(documents * (code_size + 8), "codes and ids in lists")

    def _list_sizes(self, how: bytes, lists: int) -> list[int]:
        """Read the number of documents of each list: of all lists, or as pairs for those that are not empty."""
        (count,) = self._unpack("<Q")
        _check(how in (b"full", b"sprs"), f"lists noted as {how!r}")
        _check(count * 8 <= self.left(), f"{count} sizes of lists")
        values = list(struct.unpack(f"<{count}Q", self._take(8 * count)))
        if how == b"full":
            _check(count == lists, f"sizes of {count} lists, of {lists}")
            return values
        numbers = values[::2]
        _check(count % 2 == 0 and len(set(numbers)) == len(numbers), "sizes of lists that are no pairs")
        _check(all(number < lists for number in numbers), f"sizes of lists beyond {lists}")
        return values[1::2]

    def _vector(self, item: int, expected: int | None = None, what: str = "values") -> int:
        """Skip values of `item` bytes each, whose number stands before them; return that number."""
        (count,) = self._unpack("<Q")
        _check(expected in (None, count), f"{count} {what}, expected {expected}")
        self._step(count * item, what)
        return int(count)

    def _step(self, size: int, what: str) -> None:
        _check(size <= self.left(), f"{size} bytes of {what} are claimed, {self.left()} are left")
        self._file.seek(size, 1)

    def _unpack(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(form, self._take(struct.calcsize(form)))

    def _take(self, size: int) -> bytes:
        _check(size <= self.left(), "it ends too early")
        return self._file.read(size)
