"""The objects below one address in a bucket: listed, read and written.

Nothing is appended: an object appears whole or not at all. Not every store refuses to create an object that exists, so
callers choose names that nobody else takes, and a refusal only tells them a collision earlier.
"""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from msgspec import Struct

from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.rows.object_storage import StoredObject, copy_ranges, explain_storage_errors, open_store, upload_file

COPIES_AT_ONCE = 16  # within the store


class ListedObject(Struct, frozen=True):
    """An object of a folder. changed: when it was written, by the clock of the store, as ISO text."""

    name: str
    size: int
    changed: str


class ObjectFolder:
    """One folder of a bucket. UsageError: the address cannot be used, or the store cannot be reached."""

    def __init__(self, address: str, environ: Mapping[str, str] = os.environ) -> None:
        self.address = address.rstrip("/")
        self._environ = environ
        self._store, self._key = open_store(self.address, environ)

    def list_objects(self, prefix: str = "") -> list[ListedObject]:
        """Return the objects whose names begin so, in the order of their names."""
        import obstore

        # A store lists whole folders alone, so the part behind the last slash is compared here.
        inside = f"{self._key}/{prefix}".rpartition("/")[0]
        begin = len(self._key) + 1
        with explain_storage_errors(self.address):
            found = [each for batch in obstore.list(self._store, inside) for each in batch]
        listed = [ListedObject(each["path"][begin:], each["size"], each["last_modified"].isoformat()) for each in found]
        return sorted((each for each in listed if each.name.startswith(prefix)), key=lambda each: each.name)

    def read_object(self, name: str) -> bytes:
        """Return an object. UsageError: it does not exist."""
        import obstore

        with explain_storage_errors(f"{self.address}/{name}"):
            return bytes(obstore.get(self._store, f"{self._key}/{name}").bytes())

    def read_if_there(self, name: str) -> bytes | None:
        """Return an object, None if there is none."""
        import obstore
        from obstore.exceptions import NotFoundError

        with explain_storage_errors(f"{self.address}/{name}"):
            try:
                return bytes(obstore.get(self._store, f"{self._key}/{name}").bytes())
            except (NotFoundError, FileNotFoundError):
                return None

    def write_object(self, name: str, data: bytes) -> None:
        """Put an object, also over one that is there."""
        import obstore

        with explain_storage_errors(f"{self.address}/{name}"):
            obstore.put(self._store, f"{self._key}/{name}", data, mode="overwrite")

    def create_object(self, name: str, data: bytes) -> bool:
        """Put an object; return False if one is there and the store refuses to replace it."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with explain_storage_errors(f"{self.address}/{name}"):
            try:
                obstore.put(self._store, f"{self._key}/{name}", data, mode="create")
            except AlreadyExistsError:
                return False
        return True

    def download_object(self, name: str, target: Path, size: int, begin: int = 0) -> None:
        """Append the bytes of an object to a file, from an offset on."""
        source = StoredObject(self._store, f"{self.address}/{name}", f"{self._key}/{name}")
        with explain_disk_errors(target), open(target, "ab") as file:
            file.writelines(copy_ranges(source, begin, size))

    def rename_objects(self, names: Mapping[str, str]) -> None:
        """Give objects other names: the store copies all of them, and then the old ones are deleted."""
        import obstore

        def copy_object(name: str) -> None:
            obstore.copy(self._store, f"{self._key}/{name}", f"{self._key}/{names[name]}")

        with explain_storage_errors(self.address):
            with ThreadPoolExecutor(COPIES_AT_ONCE) as pool:
                list(pool.map(copy_object, names))
            if names:
                obstore.delete(self._store, [f"{self._key}/{name}" for name in names])

    def upload_file(self, path: Path, name: str) -> None:
        """Put a file, also over an object that is there."""
        upload_file(path, f"{self.address}/{name}", replace=True, environ=self._environ)
