import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserini_jpq.evaluate.significance import holm


@pytest.mark.unit
def test_a_worked_example():
    # Four tests: .01 x 4, .03 x 2 after .02 x 3, and the largest as it is, but never below one before it.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([]) == [] and holm([0.2]) == [0.2]


@pytest.mark.property
@given(st.lists(st.floats(0, 1), max_size=12))
def test_between_no_correction_and_bonferroni(values):
    corrected = holm(values)
    for plain, found in zip(values, corrected, strict=True):
        assert plain <= found <= max(plain, min(1, plain * len(values)), max(corrected))
        assert found <= 1
    ordered = [found for _, found in sorted(zip(values, corrected, strict=True))]
    assert ordered == sorted(ordered)
