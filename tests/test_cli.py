import argparse
import errno
import os
import signal

import pytest

from pyserini_jpq import cli
from pyserini_jpq.errors import JPQError

pytestmark = pytest.mark.unit


def raising(error):
    def main(argv):
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (JPQError("one\n  line"), "error: one line"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x"), "no space left on the disk for x"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "no space left on the disk; free some"),
        (RuntimeError("faiss: write error: 989 != 8192 (No space left on device)"), "no space left on the disk;"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "file/x"), "file/x: Not a directory"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "x"), "x: Is a directory"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "xx"), "xx: File name too long"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/proc/x"), "/proc/x: No such file"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "x: Permission denied"),
    ],
)
def test_what_is_wrong_with_the_machine_is_one_line(error, part, capsys):
    assert cli.run(raising(error), []) == 2
    out, err = capsys.readouterr()
    assert part in err and err.count("\n") == 1 and not out


def test_a_message_is_one_line_in_python_too():
    assert str(JPQError("a\r\n  b\x1b[2Jc\u2028d\n")) == "a b [2Jc d"
    assert str(JPQError("two  spaces of a name, ü")) == "two  spaces of a name, ü"


@pytest.mark.parametrize("error", [ValueError("ours"), OSError("no errno"), FileNotFoundError(errno.ENOENT, "unnamed")])
def test_faults_of_ours_are_raised(error):
    with pytest.raises(type(error)):
        cli.run(raising(error), [])


def test_sigterm_is_handled_as_before_when_a_command_has_ended():
    before, during = signal.getsignal(signal.SIGTERM), []
    assert cli.run(lambda argv: during.append(signal.getsignal(signal.SIGTERM)), []) == 0
    assert signal.getsignal(signal.SIGTERM) == before not in during


def test_interruption_has_its_own_status(capsys):
    assert cli.run(raising(KeyboardInterrupt()), []) == 130
    assert "the same command goes on" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["-1", "x", "1.5", "", "4294967296", "²"])
def test_seeds_that_some_library_refuses(text):
    with pytest.raises(argparse.ArgumentTypeError, match="whole number from 0"):
        cli.seed(text)
    assert cli.seed("0") == 0 and cli.seed("2147483647") == 2**31 - 1


def test_a_default_is_shown_once_and_only_where_there_is_one(capsys):
    parser = cli.parser("x", "Does x.")
    parser.add_argument("--name", help="a name")
    parser.add_argument("--rows", help="rows (default: all)")
    parser.add_argument("--size", default=3, help="a size")
    parser.add_argument("--quiet", action="store_true", help="say less")
    shown = " ".join(parser.format_help().split())
    assert shown.endswith("a name --rows ROWS rows (default: all) --size SIZE a size (default: 3) --quiet say less")


@pytest.mark.unit
@pytest.mark.parametrize(("given", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_sleep_unless_the_user_says_otherwise(monkeypatch, given, expected):
    monkeypatch.setenv("OMP_WAIT_POLICY", "set, so that monkeypatch puts it back")
    monkeypatch.delenv("OMP_WAIT_POLICY")
    if given:
        monkeypatch.setenv("OMP_WAIT_POLICY", given)
    seen = []
    assert cli.run(lambda argv: seen.append(os.environ["OMP_WAIT_POLICY"]), []) == 0
    assert seen == [expected]
