"""Tests of demo/, skipped where it is not beside them."""

import pytest

pytest.importorskip("demo", reason="demo/ of the repository not beside the tests")
