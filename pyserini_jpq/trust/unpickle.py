"""Reading a pickle of plain values without running any code that it names."""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pyserini_jpq.errors import ConversionError, message_of
from pyserini_jpq.trust.memory import at_most

Key = int | str

_TIMES = 64


def load_plain_dict(path: Path) -> dict[Key, int]:
    """Read a pickled mapping of whole numbers or texts to whole numbers.

    Classes and functions that the pickle names are never looked up. NumPy's integers, which the authors' scripts leave
    as keys, are read by stand-ins.

    Raises
    ------
    ConversionError
        If the file is no pickle, names anything else, or holds another kind of value.
    """
    try:
        with at_most(path, _TIMES), open(path, "rb") as file:
            found = SafeUnpickler(file).load()
    except Refused as problem:
        raise ConversionError(
            f"{path} {problem}; nothing of it was run. Give the map as TSV, docid<TAB>offset"
        ) from None
    except OSError:
        raise
    except Exception as problem:  # a damaged pickle can raise nearly anything
        reason = message_of(problem)
        raise ConversionError(f"{path} is no whole pickle ({reason}); copy it again, or give the map as TSV") from None
    if type(found) is not dict:
        raise ConversionError(f"{path} holds a {type(found).__name__}, not a mapping of docids to offsets")
    for key, value in found.items():
        if type(key) not in (int, str) or type(value) is not int:
            raise ConversionError(f"{path} maps {key!r} to {value!r}; expected docids and whole numbers")
    return found


class Refused(Exception):
    """A pickle names a class or function that is not allowed."""


class _Dtype:
    """Stand-in for `numpy.dtype` of an integer: sign, width, and byte order."""

    def __init__(self, code: str, *_: Any) -> None:
        if type(code) is not str or code[:1] not in ("i", "u") or code[1:] not in ("1", "2", "4", "8"):
            raise Refused(f"holds values of NumPy's type {code!r}, not whole numbers")
        self.signed = code[0] == "i"
        self.bytes = int(code[1])
        self.order: Literal["little", "big"] = "little"

    def __setstate__(self, state: Any) -> None:
        self.order = "big" if state[1] == ">" else "little"


def _scalar(dtype: Any, content: Any) -> int:
    """Stand-in for the function that makes a NumPy scalar."""
    if type(dtype) is not _Dtype or type(content) is not bytes or len(content) != dtype.bytes:
        raise Refused("holds a NumPy value that is no whole number")
    return int.from_bytes(content, dtype.order, signed=dtype.signed)


def _encode_latin1(text: Any, encoding: Any) -> bytes:
    """Stand-in for `_codecs.encode`, by which old protocols write bytes."""
    if type(text) is not str or encoding != "latin1":
        raise Refused("holds bytes written in an unknown way")
    return text.encode("latin1")


class Sealed:
    """A function that a pickle may call, and do nothing else to."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        """Call it."""
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        """Refuse what a pickle would put into it."""
        raise Refused("would change a function")


Encode = Sealed(_encode_latin1)


class SafeUnpickler(pickle.Unpickler):
    """Builds dict, list, tuple, int, str and the like; every name is refused but the stand-ins."""

    stand_ins: Mapping[tuple[str, str], Any] = {
        ("numpy", "dtype"): Sealed(_Dtype),
        ("numpy.core.multiarray", "scalar"): Sealed(_scalar),
        ("numpy._core.multiarray", "scalar"): Sealed(_scalar),
        ("_codecs", "encode"): Encode,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in."""
        try:
            return self.stand_ins[module, name]
        except KeyError:
            raise Refused(f"would run {module}.{name} when unpickled") from None

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to objects outside of the file."""
        raise Refused("refers to objects outside of it")
