"""Encoded queries as Pyserini writes them: a pickled table of pandas, read without running anything else it names."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.errors import EncoderError, message_of
from pyserini_jpq.trust.memory import at_most
from pyserini_jpq.trust.unpickle import Encode, Refused, SafeUnpickler, Sealed

_TIMES = 64  # a float of a list takes 9 bytes of a pickle, and 32 of memory

_DTYPES = ("O", "O8", "f2", "f4", "f8", "i4", "i8", "u1", "b1")
_TABLE_CLASSES = {
    "pandas": "DataFrame Index RangeIndex StringDtype",
    "pandas._libs.arrays": "__pyx_unpickle_NDArrayBacked",
    "pandas._libs.internals": "_unpickle_block",
    "pandas.arrays": "ArrowStringArray StringArray",
    "pandas.core.arrays.string_": "StringArray StringDtype",
    "pandas.core.arrays.string_arrow": "ArrowStringArray",
    "pandas.core.frame": "DataFrame",
    "pandas.core.indexes.base": "Index _new_Index",
    "pandas.core.indexes.range": "RangeIndex",
    "pandas.core.internals.blocks": "new_block",
    "pandas.core.internals.managers": "BlockManager",
    "pyarrow.lib": "py_buffer type_for_alias",
}
_PANDAS = {(module, name) for module, names in _TABLE_CLASSES.items() for name in names.split()}
"""The parts of a table with texts and vectors; none of them opens a file or calls its arguments."""


def read_encoded_queries(path: Path) -> dict[str, Any]:
    """Return vectors by the text of the query, as a `QueryEncoder` of Pyserini holds them.

    Parameters
    ----------
    path
        `embedding.pkl`: a table with the columns `text` and `embedding`.

    Raises
    ------
    EncoderError
        If it holds anything else, or is damaged. Only classes of pandas and NumPy that a table is made of are used.
    """
    try:
        with at_most(path, _TIMES), open(path, "rb") as file:
            frame = _FrameUnpickler(file).load()
            texts, vectors = frame["text"].tolist(), frame["embedding"].tolist()
        found = [np.asarray(vector, dtype=np.float32) for vector in vectors]
    except Refused as problem:
        raise EncoderError(
            f"{path} {problem}; nothing of it was run: write it again with pyserini.encode.query"
        ) from None
    except OSError:
        raise
    except Exception as problem:  # a damaged pickle can raise nearly anything
        reason = message_of(problem)[:200]
        raise EncoderError(f"{path} is no table of queries and vectors, or damaged ({reason})") from None
    shapes = {vector.shape for vector in found}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1 or not all(type(text) is str for text in texts):
        raise EncoderError(f"{path} does not hold a text and a vector for each query")
    return dict(zip(texts, found, strict=True))


class _Dtype:
    """Stand-in for `numpy.dtype` of plain values."""

    def __init__(self, code: Any, *_: Any) -> None:
        if type(code) is not str or code not in _DTYPES:
            raise Refused(f"holds values of NumPy's type {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if state[1] in (">", "<"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray[Any, Any]):
    """An array that takes its values only where they fit its shape."""

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        values = content if type(content) is list else np.frombuffer(content, _real(dtype))
        if (dtype.dtype.kind == "O") != (type(content) is list) or len(values) != np.prod(shape, dtype=object):
            raise Refused("holds an array whose values do not fit its shape")
        super().__setstate__((1, shape, dtype.dtype, fortran, content))


def _real(dtype: Any) -> Any:
    if type(dtype) is not _Dtype or dtype.dtype.hasobject:
        raise Refused("holds an array of an unknown type")
    return dtype.dtype


def _reconstruct(kind: Any, shape: Any, code: Any) -> Any:
    """Stand-in for NumPy's maker of empty arrays, which are filled afterwards."""
    if kind is not _Array or shape != (0,) or code not in (b"b", "b"):
        raise Refused("makes an array in an unknown way")
    return np.ndarray.__new__(_Array, (0,), np.int8)


def _from_buffer(content: Any, dtype: Any, shape: Any, order: Any) -> Any:
    return np.frombuffer(content, _real(dtype)).reshape(shape, order=order)


def _arrow(data: Any) -> Any:
    """Stand-in for Arrow's maker of arrays, which checks nothing itself: the array is validated here."""
    array = import_module("pyarrow.lib")._restore_array(data)
    array.validate(full=True)
    return array


_STAND_INS: dict[tuple[str, str], Any] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): Sealed(_reconstruct) for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): Sealed(_from_buffer) for core in ("core", "_core")},
    **{(module, "slice"): slice for module in ("builtins", "__builtin__")},
    **{(module, "bytearray"): Sealed(bytearray) for module in ("builtins", "__builtin__")},
    ("numpy", "dtype"): Sealed(_Dtype),
    ("numpy", "ndarray"): _Array,
    ("_codecs", "encode"): Encode,
    ("pyarrow.lib", "_restore_array"): Sealed(_arrow),
}


class _FrameUnpickler(SafeUnpickler):
    """Builds a table; every name is refused but the stand-ins and the classes that tables are made of."""

    stand_ins = _STAND_INS

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in, or a class of pandas."""
        return getattr(import_module(module), name) if (module, name) in _PANDAS else super().find_class(module, name)
