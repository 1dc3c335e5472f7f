"""Correction of p values for the number of tests."""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values corrected by Holm's step-down method (Scandinavian Journal of Statistics, 1979).

    Parameters
    ----------
    p_values
        Of the tests of one family.

    Returns
    -------
    list of float
        In the same order; a test is significant at a level where its value is below it.
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for step, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - step) * p_values[index]))
        corrected[index] = largest
    return corrected
