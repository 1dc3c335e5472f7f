"""The kernels without Python: for this machine, and for Arm by a cross compiler and an emulator, where those are."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import needs

SOURCE = Path(__file__).parents[2] / "pyserini_jpq" / "scan" / "src"
FILES = [Path(__file__).with_name("agree.cpp"), *sorted(set(SOURCE.glob("*.cpp")) - {SOURCE / "module.cpp"})]

pytestmark = needs("pyserini_jpq/scan/src")


def said(compiler, tmp_path, emulator=(), files=FILES):
    program = tmp_path / "agree"
    flags = ["-std=c++17", "-O2", "-ffp-contract=off", "-pthread", f"-I{SOURCE}"]
    subprocess.run([*compiler, *flags, *map(str, files), "-o", str(program)], check=True, capture_output=True)
    return subprocess.run([*emulator, str(program)], check=True, capture_output=True, text=True).stdout


@pytest.mark.integration
def test_kernels_of_this_machine_agree(tmp_path):
    empty = tmp_path / "empty.cpp"
    empty.write_text("int main() {}\n")
    if not shutil.which("c++") or subprocess.run(["c++", empty, "-o", tmp_path / "empty"], check=False).returncode:
        pytest.skip("there is no C++ compiler that works")
    assert said(["c++"], tmp_path).endswith("plain agree in 444 cases\n")


SIMDE = Path("/usr/include/simde")
EMULATED = """
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
// What SIMDe lacks, by what it has.
using __mmask16 = std::uint16_t;
using __mmask32 = std::uint32_t;
#define _mm512_testn_epi16_mask(a, b) static_cast<__mmask32>(~_mm512_test_epi16_mask(a, b))
#define _mm512_mask_srli_epi16(from, mask, a, by) _mm512_mask_blend_epi16(mask, from, _mm512_srli_epi16(a, by))
#define _mm512_mask_slli_epi16(from, mask, a, by) _mm512_mask_blend_epi16(mask, from, _mm512_slli_epi16(a, by))
static inline __m128i _mm_maskz_loadu_epi8(__mmask16 mask, const std::uint8_t *from) {
    std::uint8_t bytes[16];
    for (int i = 0; i < 16; ++i) bytes[i] = mask >> i & 1 ? from[i] : 0;
    return _mm_loadu_si128(reinterpret_cast<const __m128i *>(bytes));
}
#define __builtin_cpu_supports(name) true
#define asm(...)
"""


@pytest.mark.integration
@pytest.mark.skipif(not SIMDE.exists(), reason="there is no SIMDe (Debian: libsimde-dev), which emulates AVX-512")
def test_avx512_agrees_where_the_processor_has_none(tmp_path):
    kernels = (SOURCE / "kernels_avx512.cpp").read_text().replace("#include <immintrin.h>\n", EMULATED)
    emulated = tmp_path / "kernels_avx512.cpp"
    emulated.write_text(re.sub(r"__attribute__\(\(target\(.*\)\)\)", "", kernels))
    assert said(["c++"], tmp_path, files=[f if f.name != emulated.name else emulated for f in FILES]).startswith(
        "avx512vbmi avx512 "
    )


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("qemu-aarch64-static") is None, reason="there is no qemu-aarch64-static")
def test_neon_agrees(tmp_path):
    pytest.importorskip("ziglang")
    compiler = [sys.executable, "-m", "ziglang", "c++", "-target", "aarch64-linux-musl", "-static"]
    assert said(compiler, tmp_path, ["qemu-aarch64-static"]) == "neon plain agree in 444 cases\n"
