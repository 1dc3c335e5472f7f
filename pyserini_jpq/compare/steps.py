"""Starts the steps of a report, each in a process of one thread, and reads what it wrote."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pyserini_jpq.errors import JPQError
from pyserini_jpq.files import write_json_atomically

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run_step(task: dict[str, Any], file: Path) -> None:
    """Do one task of `worker` in a process of its own.

    Parameters
    ----------
    task
        What `worker` reads.
    file
        Where the task is written; the process's messages go to a `.log` beside it.

    Raises
    ------
    JPQError
        If the process fails, with its last line.
    """
    write_json_atomically(file, task)
    environment = {**os.environ, **dict.fromkeys(_ONE_THREAD, "1")}
    command = [sys.executable, "-m", "pyserini_jpq.compare.worker", str(file)]
    log = file.with_suffix(".log")
    with open(log, "wb") as messages:
        status = subprocess.run(command, env=environment, stdout=messages, stderr=messages, check=False).returncode
    if status == 0:
        return
    if status == 130 or (status < 0 and -status in (2, 15)):
        raise KeyboardInterrupt
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    reason = (lines[-1] if lines else "no message").removeprefix("error: ")
    raise JPQError(f"{reason} (exit status {status})" if status != 2 else reason)


def read(file: Path) -> Any:
    """Return the JSON value that a step wrote."""
    return json.loads(file.read_text(encoding="utf-8"))
