"""The sessions of a shared run, kept beside the shards until a merge.

Each process that leads the workers is one session. Where no process leads, as in a Slurm array without a coordinator,
the sessions of all attempts together count as one.
"""

import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from arkbatch.core.errors import RunDamaged
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.journal.run_info import RunInfo, SessionInfo
from arkbatch.journal.shard_files import ShardDirectory
from arkbatch.journal.shard_plan import ShardPlan

SESSIONS_FILE = "sessions.json"  # beside the shards


class ShardSessions(Struct):
    """What `sessions.json` holds. earlier: sessions before the run had shards; led: those of processes that lead."""

    earlier: list[SessionInfo] = []
    led: list[SessionInfo] = []


def read_sessions(shards: ShardDirectory) -> ShardSessions:
    """Return the sessions that were noted so far."""
    path = shards.path / SESSIONS_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=ShardSessions) if path.exists() else ShardSessions()
    except (msgspec.DecodeError, RecursionError) as error:
        raise RunDamaged(f"{path} cannot be read ({error}). Delete it: the sessions of workers are kept.") from error


def write_sessions(shards: ShardDirectory, sessions: ShardSessions) -> None:
    """Replace the file as a whole."""
    shards.write_file(SESSIONS_FILE, msgspec.json.encode(sessions) + b"\n")


class LedSession:
    """The session of a process that leads workers, from its beginning on. It stands in the file at once."""

    def __init__(self, shards: ShardDirectory, command: str, *, began: float, version: str, limits: object) -> None:
        self._shards, self._began = shards, began
        self._noted = read_sessions(shards)
        number = len(self._noted.earlier) + len(self._noted.led) + 1
        values: dict[str, object] = msgspec.to_builtins(limits)
        self.info = SessionInfo(number, command, _stamp(began), version, limits=values)
        self._noted.led.append(self.info)
        write_sessions(shards, self._noted)

    @contextmanager
    def changed(self) -> Iterator[SessionInfo]:
        """Write what the body changes. After an error nothing is changed."""
        before = msgspec.structs.replace(self.info)
        try:
            yield self.info
            write_sessions(self._shards, self._noted)
        except BaseException:
            for name in SessionInfo.__struct_fields__:
                setattr(self.info, name, getattr(before, name))
            raise

    def end(self, ending: str, at: float) -> None:
        """Note how and when the session ended."""
        with self.changed() as info:
            info.ending, info.ended_at, info.seconds = ending, _stamp(at), round(at - self._began, 3)


def _stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def attempt_infos(shards: ShardDirectory) -> Iterator[RunInfo]:
    """Yield `run.json` of every attempt, in the order of the shards."""
    for shard, numbers in sorted(shards.all_attempts().items()):
        for number in numbers:
            directory = RunDirectory(shards.attempt_path(shard, number))
            if directory.exists:
                yield directory.read_info()


def sessions_of(shards: ShardDirectory, plan: ShardPlan, attempts: Iterable[RunInfo]) -> list[SessionInfo]:
    """Return the sessions of the whole run, oldest first."""
    noted = read_sessions(shards)
    led = noted.led or _without_leader(shards, plan, [each for info in attempts for each in info.sessions])
    sessions = [*noted.earlier, *led]
    for number, session in enumerate(sessions, 1):
        session.number = number
    return sessions


def _without_leader(shards: ShardDirectory, plan: ShardPlan, sessions: list[SessionInfo]) -> list[SessionInfo]:
    """Return all attempts as one session, from the first beginning to the last end."""
    if not sessions:
        return []
    first = min(sessions, key=lambda each: each.began_at)
    last = max(sessions, key=lambda each: each.ended_at)
    has_ended = all(each.ended_at for each in sessions)
    return [
        SessionInfo(
            number=1,
            command=f"arkbatch shard serve {shlex.quote(shards.shown)}",
            began_at=first.began_at,
            version=first.version,
            ended_at=last.ended_at if has_ended else "",
            ending=last.ending if has_ended else "",
            seconds=round(sum(each.seconds for each in sessions), 3),
            limits=plan.job.get("limits", {}),
        )
    ]
