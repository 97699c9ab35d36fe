"""The fixture of the tests about Grad-CAM."""

import pytest
from cam_world import Squares, write_squares


@pytest.fixture(scope="session")
def squares(tmp_path_factory) -> Squares:
    return write_squares(tmp_path_factory.mktemp("cam"))
