"""Steps: each runs once, and none outlives the process that started it."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from pyserini_jpq.errors import JPQError
from pyserini_jpq.locks import exclusive
from pyserini_jpq.steps import make, run, run_command

SLEEPS = "import pathlib, time; pathlib.Path('pid').write_text(str(__import__('os').getpid())); time.sleep(600)"
PARENT = f"""
from pathlib import Path
from pyserini_jpq import cli, locks, steps
def main(argv):
    with locks.exclusive(Path("work")):
        steps.run_command({f'python -c "{SLEEPS}"'!r})
raise SystemExit(cli.run(main, []))
"""


@pytest.mark.integration
def test_a_step_runs_once_and_its_output_is_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = 'python -c \'import sys; open(sys.argv[1], "a").write("x")\' $partial'
    assert make(tmp_path / "made", command) and not make(tmp_path / "made", command)
    assert (tmp_path / "made").read_text() == "x" and [file.name for file in tmp_path.iterdir()] == ["made"]
    fails = "python -c 'import sys; open(sys.argv[1], \"a\"); sys.exit(3)' $partial"
    with pytest.raises(JPQError, match="ended with status 3"):
        make(tmp_path / "half", fails)
    assert not (tmp_path / "half").exists()
    with pytest.raises(JPQError, match=r"there is no .*never"):
        make(tmp_path / "never", "python -c pass")
    with pytest.raises(JPQError, match="no command 'no-such-command'"):
        run_command("no-such-command")
    assert run([sys.executable, "-c", "import os; raise SystemExit(int(os.environ['WANTED']))"], {"WANTED": "7"}) == 7


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_run_leaves_nothing_running(tmp_path, how):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    # A shell's job in the background ignores SIGINT, and so would what it starts.
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    command = [sys.executable, "-c", PARENT]
    parent = subprocess.Popen(command, cwd=tmp_path, env=environment, preexec_fn=heeding, **quiet)
    until = time.monotonic() + 300
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert parent.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    child = int((tmp_path / "pid").read_text())
    with (
        pytest.raises(JPQError, match=rf"work is being written by process {parent.pid} "),
        exclusive(tmp_path / "work"),
    ):
        pass
    parent.send_signal(how)
    parent.wait(300)
    with exclusive(tmp_path / "work"):  # as soon as the command has ended, too
        assert not is_alive(child)
    assert [file.name for file in tmp_path.iterdir()] == ["pid"]
