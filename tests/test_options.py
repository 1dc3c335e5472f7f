"""Options: one check for flags and for Python."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pyserini_jpq import cli
from pyserini_jpq.errors import JPQError
from pyserini_jpq.options import Options, add_flags, from_flags, on_or_off, option, switch, yes_or_no

pytestmark = pytest.mark.unit


@dataclass(frozen=True)
class Sizes(Options):
    count: int = option(3, "how many", cli.positive_int)
    rate: float | None = option(None, "how fast", cli.positive_float)
    deep: bool = option(True, "whether deep", yes_or_no)
    kind: str = option("a", "which", choices=("a", "b"))
    skip: bool = option(False, "whether to skip", switch)
    unit: bool | None = option(None, "unit length", on_or_off)
    place: Path = option(Path("x"), "where", Path, flag="--to")


def parsed(*words):
    parser = cli.parser("x", "x")
    add_flags(parser, Sizes)
    return from_flags(Sizes, vars(parser.parse_args(words)), rate=0.5)


def test_flags_make_options_and_leave_the_rest_to_the_defaults():
    assert parsed() == Sizes(rate=0.5)
    found = parsed("--count", "7", "--rate", "1e-3", "--deep", "no", "--kind", "b", "--skip", "--no-unit", "--to", "y")
    assert found == Sizes(7, 0.001, False, "b", True, False, Path("y"))


def test_values_from_python_are_checked_and_typed_as_flags_are():
    assert type(Sizes(count=np.int64(4)).count) is int and Sizes(place="z").place == Path("z")
    for wrong in ({"count": 0}, {"count": 1.5}, {"rate": float("nan")}, {"deep": "maybe"}, {"kind": "c"}):
        with pytest.raises(JPQError, match=f"Sizes: {next(iter(wrong))}"):
            Sizes(**wrong)
