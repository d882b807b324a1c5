"""What several tests of this problem share."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "soc"
"""Data that are not part of the package; the tests that need them are skipped without."""

needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the data in {SHARED} are not here")
