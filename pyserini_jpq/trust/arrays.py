"""Arrays from elsewhere: the headers of `.npy` and safetensors files are checked against the length of the file."""

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.errors import JPQError, message_of
from pyserini_jpq.files import check_regular, regular
from pyserini_jpq.trust.plain import NotPlain, parse_json

_MOST_HEADER = 64 << 20
_WIDTHS = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
_NARROW = ("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2")


def open_npy(
    path: Path, error: type[JPQError], remedy: str, dtypes: tuple[str, ...] = ("<f4",), mapped: bool = True
) -> Any:
    """Open an `.npy` file.

    Parameters
    ----------
    path
        The file.
    error
        Raised if the file is damaged, cut short, or holds values of another type.
    remedy
        What to do then; ends the message.
    dtypes
        Types of values that are taken.
    mapped
        Map the values into memory, read-only; else read them.

    Returns
    -------
    numpy.ndarray
        Values in C order.
    """
    try:
        with open(path, "rb", opener=regular(error)) as file:
            shape, fortran, dtype = _npy_header(file)
            offset = file.tell()
        if dtype.hasobject or dtype.str not in dtypes or fortran:
            raise ValueError(f"it holds values of type {dtype.str}{' in the order of Fortran' if fortran else ''}")
        if any(type(n) is not int or n < 0 for n in shape):
            raise ValueError(f"it has the shape {shape}")
        expected, size = offset + math.prod(shape) * dtype.itemsize, path.stat().st_size
        if size != expected:
            raise ValueError(f"it has {size} bytes, its header says {expected}")
    except (OSError, JPQError):
        raise
    except Exception as problem:  # a header is Python source, which can make NumPy raise anything
        reason = message_of(problem)
        raise error(f"{path} cannot be read: {reason[:200]}; {remedy}") from None
    if not mapped or 0 in shape:
        return np.fromfile(path, dtype, offset=offset).reshape(shape)
    return np.memmap(path, dtype, "r", offset, shape)


def _npy_header(file: Any) -> Any:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"it is of version {version[0]}.{version[1]}")


@dataclass(frozen=True)
class Tensors:
    """Number of tensors in a file of weights, and number of values in all of them."""

    count: int
    values: int


def safetensors_header(path: Path, error: type[JPQError]) -> Tensors:
    """Return the content of a safetensors file, its header checked against the file's length.

    Parameters
    ----------
    path
        The file.
    error
        Raised if they do not fit.
    """
    try:
        check_regular(path, error)
        return _tensors(path)
    except (NotPlain, ValueError, KeyError, TypeError, AttributeError) as problem:
        reason = message_of(problem)
        raise error(f"{path} is no safetensors file, or damaged: {reason[:200]}; copy it again") from None


def _tensors(path: Path) -> Tensors:
    size = path.stat().st_size
    with open(path, "rb", opener=regular()) as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
        if length > min(size - 8, _MOST_HEADER):
            raise ValueError(f"a header of {length} bytes in a file of {size}")
        entries = parse_json(file.read(length).decode())
    count, values, end = 0, 0, 0
    for name, entry in entries.items():
        if name == "__metadata__":
            continue
        number = math.prod(entry["shape"])
        start, stop = entry["data_offsets"]
        width = 1 if entry["dtype"] in _NARROW else _WIDTHS[entry["dtype"]]
        if number < 0 or stop - start != number * width or start < 0:
            raise ValueError(f"the weight {name!r} has {stop - start} bytes for the shape {entry['shape']}")
        count, values, end = count + 1, values + number, max(end, stop)
    if end != size - 8 - length:
        raise ValueError(f"{end} bytes of weights in {size - 8 - length}")
    return Tensors(count, values)
