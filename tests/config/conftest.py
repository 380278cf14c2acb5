import pytest


@pytest.fixture
def folders(tmp_path):
    for name in ("job", "cwd"):
        (tmp_path / name).mkdir()
    return tmp_path / "job", tmp_path / "cwd"
