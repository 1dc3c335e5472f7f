"""From import to the first hit, without a JVM."""

import pytest

from benchmarks import first_hit

pytestmark = pytest.mark.integration


def test_all_parts_are_timed(built, capsys):
    first_hit.main(["--index", str(built / "x.opq-m4"), "--query", "bado kedo", "--times", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and lines[0].endswith("ms  import pyserini_jpq") and lines[-1].endswith("in all")
