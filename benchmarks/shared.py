"""What all benchmarks share: the beginning of their flags, and tables that are printed row by row."""

import argparse

from pyserini_jpq import cli
from pyserini_jpq.compare.timer import TIMERS


def parser(name: str, description: str) -> cli.OneLineParser:
    """Return the parser of `python -m benchmarks.NAME`."""
    made = cli.parser(name, description)
    made.prog = f"python -m benchmarks.{name}"
    return made


def add_clock(flags: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    """Add the flag that chooses the timer."""
    flags.add_argument("--clock", choices=sorted(TIMERS), default="wall", help="cpu: without other processes' share")


class Printed:
    """A table on standard output, a row at a time: the first column is set left, the others right.

    Parameters
    ----------
    *header
        Names of the columns; no column is narrower than its name, nor than 7.
    first
        Least width of the first column.
    """

    def __init__(self, *header: str, first: int = 0) -> None:
        self._widths = [max(first, len(header[0])), *(max(7, len(name)) for name in header[1:])]
        self.add(*header)

    def add(self, *cells: object) -> None:
        """Print a row; figures come formatted, and columns at the end may be left empty."""
        name, *others = (str(cell) for cell in (*cells, *[""] * (len(self._widths) - len(cells))))
        aligned = [cell.rjust(width) for cell, width in zip(others, self._widths[1:], strict=True)]
        print(" ".join([name.ljust(self._widths[0]), *aligned]), flush=True)
