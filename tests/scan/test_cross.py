"""The kernels without Python: for this machine, and for Arm by a cross compiler and an emulator, where those are."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import needs

SOURCE = Path(__file__).parents[2] / "pyserini_jpq" / "scan" / "src"
FILES = [Path(__file__).with_name("agree.cpp"), *sorted(set(SOURCE.glob("*.cpp")) - {SOURCE / "module.cpp"})]

pytestmark = needs("pyserini_jpq/scan/src")


def said(compiler, tmp_path, emulator=()):
    program = tmp_path / "agree"
    flags = ["-std=c++17", "-O2", "-ffp-contract=off", "-pthread", f"-I{SOURCE}"]
    subprocess.run([*compiler, *flags, *map(str, FILES), "-o", str(program)], check=True, capture_output=True)
    return subprocess.run([*emulator, str(program)], check=True, capture_output=True, text=True).stdout


@pytest.mark.integration
def test_kernels_of_this_machine_agree(tmp_path):
    empty = tmp_path / "empty.cpp"
    empty.write_text("int main() {}\n")
    if not shutil.which("c++") or subprocess.run(["c++", empty, "-o", tmp_path / "empty"], check=False).returncode:
        pytest.skip("there is no C++ compiler that works")
    assert said(["c++"], tmp_path).endswith("plain agree in 444 cases\n")


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("qemu-aarch64-static") is None, reason="there is no qemu-aarch64-static")
def test_neon_agrees(tmp_path):
    pytest.importorskip("ziglang")
    compiler = [sys.executable, "-m", "ziglang", "c++", "-target", "aarch64-linux-musl", "-static"]
    assert said(compiler, tmp_path, ["qemu-aarch64-static"]) == "neon plain agree in 444 cases\n"
