"""Objects in a bucket, and files on disk, read by ranges.

The library is `obstore` (extra `storage`). Addresses and keys come from the environment, under the names that each
provider's own tools use. TOS and OSS take a bucket only as a part of the host name.
"""

import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from msgspec import Struct

from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.core.errors import UsageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "tos", "oss", "gs", "az")
RANGE_BYTES = 8 << 20
_MULTIPART_BYTES = 64 << 20
_RETRIES: Any = {"max_retries": 5, "retry_timeout": timedelta(seconds=120)}
_NEEDS_EXTRA = "{} needs: pip install 'arkbatch[storage]'"
# The key, its secret and the session token, the first name that is set; then endpoint and region.
_NAMES = {
    "tos": (
        ("TOS_ACCESS_KEY", "VOLC_ACCESSKEY"),
        ("TOS_SECRET_KEY", "VOLC_SECRETKEY"),
        ("TOS_SECURITY_TOKEN", "VOLC_SESSION_TOKEN", "VOLC_SESSIONTOKEN"),
        "TOS_ENDPOINT",
        "TOS_REGION",
    ),
    "oss": (
        ("OSS_ACCESS_KEY_ID",),
        ("OSS_ACCESS_KEY_SECRET",),
        ("OSS_SESSION_TOKEN",),
        "OSS_ENDPOINT",
        "OSS_REGION",
    ),
    "s3": (
        ("AWS_ACCESS_KEY_ID",),
        ("AWS_SECRET_ACCESS_KEY",),
        ("AWS_SESSION_TOKEN",),
        "AWS_ENDPOINT_URL",
        "AWS_REGION",
    ),
}


class Identity(Struct, frozen=True):
    """What tells whether an object is still the one that was seen: its size, and a tag that changes with it."""

    size: int
    tag: str


class ByteSource(Protocol):
    """Bytes that are read by ranges."""

    name: str

    def identity(self) -> Identity: ...

    def read_range(self, begin: int, end: int) -> bytes:
        """The bytes from `begin` up to `end`; fewer at the end of the object."""
        ...


class LocalBytes:
    """A file on disk."""

    def __init__(self, path: str) -> None:
        self.name = path

    def identity(self) -> Identity:
        try:
            stat = Path(self.name).stat()
        except OSError as error:
            raise _unreadable_object(self.name, error.strerror or str(error)) from error
        return Identity(stat.st_size, str(stat.st_mtime_ns))

    def read_range(self, begin: int, end: int) -> bytes:
        try:
            with open(self.name, "rb") as file:
                file.seek(begin)
                return file.read(end - begin)
        except OSError as error:
            raise _unreadable_object(self.name, error.strerror or str(error)) from error


class StoredObject:
    """An object in a bucket. `tag`: read only this version of it."""

    def __init__(self, store: "ObjectStore", name: str, key: str, tag: str = "") -> None:
        self._store, self.name, self._key, self._tag = store, name, key, tag

    def identity(self) -> Identity:
        import obstore

        with explain_storage_errors(self.name):
            found = obstore.head(self._store, self._key)
        return Identity(found["size"], found["e_tag"] or "")

    def read_range(self, begin: int, end: int) -> bytes:
        import obstore

        if end <= begin:
            return b""
        options: Any = {"range": (begin, end)} | ({"if_match": self._tag} if self._tag else {})
        with explain_storage_errors(self.name):
            return bytes(obstore.get(self._store, self._key, options=options).bytes())


def is_remote(name: str) -> bool:
    """Whether a name is the address of an object, and not a path."""
    return name.partition("://")[0] in SCHEMES and "://" in name


def open_bytes(name: str, environ: Mapping[str, str] = os.environ, tag: str = "") -> ByteSource:
    """A file or an object by its name. UsageError: the address cannot be used."""
    if not is_remote(name):
        return LocalBytes(name)
    store, key = open_store(name, environ)
    return StoredObject(store, name, key, tag)


def list_objects(pattern: str, environ: Mapping[str, str] = os.environ) -> list[str]:
    """The addresses below a prefix that match a pattern with `*`, in the order of their names."""
    import obstore

    store, key = open_store(pattern, environ)
    fixed = key.partition("*")[0].rpartition("/")[0]
    base = pattern[: len(pattern) - len(key)]
    with explain_storage_errors(pattern):
        found = [each["path"] for batch in obstore.list(store, fixed or None) for each in batch]
    return [base + path for path in sorted(found) if fnmatchcase(path, key)]


def copy_ranges(source: ByteSource, begin: int, end: int) -> Iterator[bytes]:
    """The bytes of a range, in pieces of some megabytes."""
    while begin < end and (piece := source.read_range(begin, min(end, begin + RANGE_BYTES))):
        yield piece
        begin += len(piece)


def upload_file(path: Path, address: str, *, replace: bool, environ: Mapping[str, str] = os.environ) -> None:
    """Put a file at an address, whole or not at all. UsageError: something is there, and `replace` is not given.

    Not every store refuses a second creation, so the address is looked at before; between the two somebody else may
    write there.
    """
    import obstore
    from obstore.exceptions import AlreadyExistsError, NotFoundError

    store, key = open_store(address, environ)
    taken = UsageError(f"{address} exists. Give another name, or --force to replace it.")
    size = path.stat().st_size
    with explain_storage_errors(address):
        if not replace:
            try:
                obstore.head(store, key)
            except (NotFoundError, FileNotFoundError):
                pass
            else:
                raise taken
        try:
            with explain_disk_errors(path), path.open("rb") as file:
                whole = size <= _MULTIPART_BYTES
                obstore.put(store, key, file, mode="overwrite" if replace or not whole else "create")
        except AlreadyExistsError:
            raise taken from None
        written = obstore.head(store, key)["size"]
    if written != size:
        raise UsageError(f"{address} holds {written:,} bytes after the upload, and {path} has {size:,}. Upload again.")


def open_store(address: str, environ: Mapping[str, str]) -> tuple["ObjectStore", str]:
    """Return the store of an address, and the key that it names there. UsageError: the address cannot be used."""
    try:
        import obstore.store as stores
    except ImportError:
        raise UsageError(_NEEDS_EXTRA.format(address)) from None
    parts = urlsplit(address)
    bucket, key = parts.netloc, parts.path.lstrip("/")
    if not bucket or not key:
        raise UsageError(f"{address} is no address of an object, such as {parts.scheme}://BUCKET/NAME")
    options: dict[str, Any] = {"retry_config": _RETRIES}
    if parts.scheme in _NAMES:
        config, client = _s3_config(parts.scheme, bucket, environ)
        return stores.S3Store(bucket, config=config, client_options=client, **options), key
    return stores.from_url(f"{parts.scheme}://{bucket}", **options), key


def _s3_config(scheme: str, bucket: str, environ: Mapping[str, str]) -> tuple[Any, Any]:
    """How a store that speaks S3 is reached."""
    keys, secrets, tokens, endpoint_name, region_name = _NAMES[scheme]
    config: dict[str, Any] = {}
    for option, names in (("access_key_id", keys), ("secret_access_key", secrets), ("session_token", tokens)):
        if value := next((environ[name] for name in names if environ.get(name)), ""):
            config[option] = value
    region, endpoint = environ.get(region_name, ""), environ.get(endpoint_name, "")
    if scheme != "s3":
        if not endpoint and not region:
            raise UsageError(f"{scheme}:// needs {endpoint_name} or {region_name} in the environment.")
        endpoint = _host_with_bucket(scheme, bucket, endpoint, region)
        config["virtual_hosted_style_request"] = True
    if region:
        config["region"] = region
    if endpoint:
        config["endpoint"] = endpoint
    return config, {"allow_http": True} if _is_loopback(endpoint) else {}


def _host_with_bucket(scheme: str, bucket: str, endpoint: str, region: str) -> str:
    """The address of a bucket at a store that takes the bucket in the host name alone."""
    host = endpoint or (f"tos-s3-{region}.volces.com" if scheme == "tos" else f"oss-{region}.aliyuncs.com")
    protocol, _, host = host.rpartition("://")
    if scheme == "tos" and host.startswith("tos-") and not host.startswith("tos-s3-"):
        raise UsageError(f"TOS_ENDPOINT: {host} does not speak S3. Give {host.replace('tos-', 'tos-s3-', 1)}.")
    return f"{protocol or 'https'}://{host if host.startswith(bucket + '.') else f'{bucket}.{host}'}"


def _is_loopback(endpoint: str) -> bool:
    return urlsplit(endpoint).hostname in {"127.0.0.1", "localhost", "::1"} and endpoint.startswith("http://")


class explain_storage_errors:  # noqa: N801 - used as a function
    """Turns the store's errors into ours: the first line of them, since the rest is XML."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, PreconditionError

        if isinstance(error, NotFoundError | FileNotFoundError):
            raise UsageError(f"{self._name} does not exist, or may not be read with these keys.") from error
        if isinstance(error, PreconditionError):
            raise UsageError(f"{self._name} changed while it was read. Run the same command again.") from error
        if isinstance(error, BaseError) and not isinstance(error, AlreadyExistsError):
            first = (str(error).strip().splitlines() or [""])[0]
            raise _unreadable_object(self._name, first) from error


def _unreadable_object(name: str, reason: str) -> UsageError:
    return UsageError(f"Cannot reach {name}: {reason}. Check the address, the keys and the permissions.")
