"""Marks of what not every engine can do; `make matrix` writes the table of them."""

import pytest

TOKEN_IDS = pytest.mark.feature("token ids")
