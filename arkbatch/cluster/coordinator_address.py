"""Where the coordinator of a run listens, and the token that it asks for: `RUN/shards/coordinator.json`.

On disk only the owner of the run may read the file; in a bucket, whoever may read the answers. So workers that see the
run directory need no argument that others could see.
"""

import secrets
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from arkbatch.core.errors import RunDamaged, RunDirectoryError
from arkbatch.journal.shard_files import ShardDirectory

ADDRESS_FILE = "coordinator.json"  # beside the attempts
TOKEN_VARIABLE = "ARKBATCH_COORDINATOR_TOKEN"  # noqa: S105 - its name


class CoordinatorAddress(Struct, frozen=True):
    """Where the coordinator of a run listens, and the token that each message carries.

    url: "" after it has ended in order; the token is kept for the next one
    """

    url: str
    token: str


def known_address(shards: ShardDirectory) -> CoordinatorAddress | None:
    """Return the address of a coordinator that is there or was killed, None where none is needed."""
    address = _last_address(shards)
    return address if address is not None and address.url else None


def _last_address(shards: ShardDirectory) -> CoordinatorAddress | None:
    data = shards.read_file(ADDRESS_FILE)
    try:
        return None if data is None else msgspec.json.decode(data, type=CoordinatorAddress)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RunDamaged(
            f"{shards.path / ADDRESS_FILE} cannot be read ({error}). Delete it and start the coordinator again."
        ) from error


def read_address(shards: ShardDirectory, run_dir: str) -> CoordinatorAddress:
    """Return the same. RunDirectoryError: there is none."""
    if (address := known_address(shards)) is None:
        raise RunDirectoryError(f"{run_dir} has no coordinator. Start one with: arkbatch shard serve {run_dir}")
    return address


def write_address(shards: ShardDirectory, address: CoordinatorAddress) -> None:
    """Leave the address for workers."""
    shards.write_file(ADDRESS_FILE, msgspec.json.encode(address) + b"\n")


def new_token() -> str:
    """Return a token that nobody can guess."""
    return secrets.token_urlsafe(32)


def token_for(shards: ShardDirectory, environ: Mapping[str, str]) -> str:
    """Return the token of a run: the one in the environment, the one that it had before, or a new one."""
    if environ.get(TOKEN_VARIABLE):
        return environ[TOKEN_VARIABLE]
    before = _last_address(shards)
    return before.token if before is not None else new_token()
