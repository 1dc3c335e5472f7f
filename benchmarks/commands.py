"""Runs commands of the package in this process, for benchmarks that do what a user would."""

import importlib
import shlex
from pathlib import Path

_BATCH = 32


def run(command: str, flags: str) -> None:
    """Run what `python -m pyserini_jpq.COMMAND FLAGS` runs."""
    importlib.import_module(f"pyserini_jpq.{command}.__main__").main(shlex.split(flags))


def searched(index: Path, topics: str, file: Path, threads: int) -> Path:
    """Return a run of the topics, by the command unless it is there."""
    if not file.exists():
        run("search", f"--index {index} --topics {topics} --output {file} --batch-size {_BATCH} --threads {threads}")
    return file
