"""What is said of a directory that holds no run."""

from pathlib import Path

import pytest

from arkbatch.core.errors import RunDirectoryError
from arkbatch.journal.run_directory import RunDirectory


@pytest.mark.parametrize("address", ["s3://bucket/night.run", "tos://bucket/a/night.run"])
def test_an_address_in_object_storage_is_not_taken_for_an_empty_directory(address):
    with pytest.raises(RunDirectoryError) as caught:
        RunDirectory(Path(address)).read_info()
    assert str(caught.value).startswith(f"{address} is in object storage")


def test_a_directory_without_a_run_is_told(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"is not a run directory: it has no run\.json"):
        RunDirectory(tmp_path).read_info()
