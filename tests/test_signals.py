"""Ctrl-C and SIGTERM while a JVM runs in the process."""

import signal
import subprocess
import sys

import pytest

CHILD = """
import os, signal, sys, time
from pyserini_jpq import cli
from pyserini_jpq.compat import pyserini

def main(argv):
    pyserini.lucene_searcher()
    os.kill(os.getpid(), int(argv[0]))
    time.sleep(300)

sys.exit(cli.run(main))
"""


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_python_although_a_jvm_runs(tmp_path, number):
    code = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n{CHILD}"
    child = subprocess.run(
        [sys.executable, "-c", code, str(int(number))], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert child.returncode == 130, child.stderr
    assert child.stderr.strip().startswith("interrupted: ") and not list(tmp_path.iterdir())
