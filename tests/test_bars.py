"""Progress bars are shown, and can be turned off."""

import pytest

import pyserini_jpq as jpq
from pyserini_jpq.bars import Progress

pytestmark = pytest.mark.unit


def test_bars_are_shown_unless_turned_off(capsys):
    for shown in (True, False):
        with jpq.progress(shown):
            assert list(Progress(range(3), desc="counting")) == [0, 1, 2]
        assert ("counting" in capsys.readouterr().err) == shown
    with Progress(total=2) as bar:
        bar.update(2)
    assert "2/2" in capsys.readouterr().err
