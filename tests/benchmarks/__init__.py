"""Tests of benchmarks/, skipped where it is not beside them."""

import pytest

pytest.importorskip("benchmarks", reason="benchmarks/ of the repository not beside the tests")
