"""The shards of a run whose records are in a bucket.

    RUN/shards.json                               the plan
    RUN/shards/000003.1483920117/results.0.jsonl  a segment: the lines of an attempt from a byte on
    RUN/shards/000003.1483920117.taken.json       with it the attempt begins to count
    RUN/shards/000003.1483920117.done.json        the attempt has a record for each row of its shard

Nothing is appended in a bucket, so lines go there in segments, at most some seconds after they were recorded. The
segments of one file, one after the other, are the file that a worker on a shared directory would have written, so
every reader works on a copy of them. A worker that dies loses the lines that no segment holds yet; they stay in its
scratch directory, and the next worker on that machine puts them there.

Names are unique, so nothing depends on whether the store refuses to create an object twice: the number of an attempt
is drawn by chance within its generation, and each attempt has a marker of its own.
"""

import secrets
import shutil
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import msgspec
from msgspec import Struct

from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.core.errors import RunDamaged, RunDirectoryError, RunLocked
from arkbatch.journal.atomic_files import replace_file
from arkbatch.journal.journal import stand_in_for_records
from arkbatch.journal.merge_state import MERGED, Merged
from arkbatch.journal.record_reader import end_of_lines
from arkbatch.journal.run_directory import FAILURES, LEDGER, LOG, RESULTS, RUN
from arkbatch.journal.shard_files import SHARDS, SHARDS_PLAN, Finished, ShardDirectory
from arkbatch.journal.shard_plan import ShardPlan
from arkbatch.rows.object_folder import ListedObject, ObjectFolder

GENERATION = 10**9  # numbers of attempts: the generation times this, and a part by chance
SEGMENT_BYTES = 8 << 20  # of one segment at most, unless one line is longer
TRANSFERS_AT_ONCE = 16
RECORD_FILES = (RESULTS, FAILURES)
MERGED_PLAN, MERGED_SHARDS = "shards.merged.json", "shards.merged"  # of a run that went on without shards


class _Segment(Struct, frozen=True, order=True):
    """A part of a record file, from a byte on."""

    begin: int
    size: int
    name: str


class BucketShards(ShardDirectory):
    """The shards of a run in a bucket, with the copy in which this process works."""

    is_shared = False

    def __init__(self, folder: ObjectFolder, run: Path) -> None:
        super().__init__(run)
        self.folder = folder
        self._published: dict[str, int] = {}  # bytes of each record file that segments hold
        self._announced: set[str] = set()  # attempts that count already
        self.unpublished: set[str] = set()  # attempts of this process that may hold more than the bucket
        self._publishing = threading.Lock()  # a last look may begin while one in another thread goes on

    @property
    def shown(self) -> str:
        """The run as the user names it in commands."""
        return self.folder.address

    # ---- the plan

    def fetch_plan(self) -> None:
        """Copy the plan. RunDirectoryError: the run was not planned."""
        data = self.folder.read_if_there(SHARDS_PLAN)
        if data is None:
            raise RunDirectoryError(
                f"{self.folder.address} has no {SHARDS_PLAN}. Make it with: arkbatch shard plan INPUT "
                f"-o {self.folder.address}"
            )
        super()._make_directory()
        replace_file(self.run / SHARDS_PLAN, data)

    def write_plan(self, plan: ShardPlan) -> None:
        """Write the plan. RunLocked: somebody else planned the run at the same time."""
        is_new = not self.is_planned
        super().write_plan(plan)
        data = (self.run / SHARDS_PLAN).read_bytes()
        if not is_new:
            self.folder.write_object(SHARDS_PLAN, data)
        elif not self.folder.create_object(SHARDS_PLAN, data):
            raise RunLocked(f"{self.folder.address} was planned by another process meanwhile. Run the command again.")

    @property
    def is_planned_in_bucket(self) -> bool:
        """Whether somebody has planned the run."""
        return self.folder.read_if_there(SHARDS_PLAN) is not None

    def is_of_present_plan(self) -> bool:
        """Whether the copy here was made for the shards that the bucket has now."""
        data = self.folder.read_if_there(SHARDS_PLAN)
        if data is None or not self.is_planned:
            return False
        here, there = self.read_plan(), msgspec.json.decode(data, type=ShardPlan)
        return (here.run_id, here.parts, here.shard_bytes) == (there.run_id, there.parts, there.shard_bytes)

    # ---- reading what is in the bucket

    def read_merged(self) -> Merged | None:
        """Return what the last merge did, None where the shards hold more by now."""
        data = self.read_file(MERGED)
        if data is None:
            return None
        merged, listed = msgspec.json.decode(data, type=Merged), self.folder.list_objects()
        sizes = {each.name: each.size for each in listed}
        records = sum(
            segment.size
            for inside in _attempts_in(listed).values()
            for file in RECORD_FILES
            for segment in _segments_of(inside, file)
        )
        finished = sum(name.endswith(".done.json") for _, name in _small_files(listed))
        written = (sizes.get(RESULTS, 0), sizes.get(FAILURES, 0))
        is_up_to_date = (merged.sizes, merged.source_bytes, merged.finished) == (written, records, finished)
        return merged if is_up_to_date else None

    def bring_up_to_date(self, shard: int) -> None:
        """Copy what all attempts at a shard have published."""
        self._fetch(self.folder.list_objects(f"{SHARDS}/{shard:06}."))

    def fetch_all(self, *, with_records: bool = True) -> None:
        """Copy what all attempts have published, and the sessions.

        with_records: False where sums suffice; then records are left out that the ledger of their shard knows
        """
        self._fetch(self.folder.list_objects(f"{SHARDS}/"), with_records=with_records)

    def bring_all_up_to_date(self, *, with_records: bool) -> None:
        """Copy which shards are finished and which attempts there are, or all that they have published."""
        listed = self.folder.list_objects(f"{SHARDS}/")
        if with_records:
            self._fetch(listed)
            return
        self._fetch([each for each in listed if _directory_of(each.name) is None])
        for directory in _attempts_in(listed):
            (self.path / directory).mkdir(mode=0o700, exist_ok=True)

    def _fetch(self, listed: list[ListedObject], *, with_records: bool = True) -> None:
        super()._make_directory()
        inside = _attempts_in(listed)
        attempts = Counter(directory.partition(".")[0] for directory in inside)

        def fetch_directory(directory: str) -> None:
            # Where a shard has several attempts, only their lines tell which rows they share.
            is_whole = with_records or attempts[directory.partition(".")[0]] > 1
            self._fetch_directory(directory, inside[directory], with_records=is_whole)

        with ThreadPoolExecutor(TRANSFERS_AT_ONCE) as pool:
            list(pool.map(fetch_directory, inside))
            list(pool.map(self._fetch_file, _small_files(listed)))

    def _fetch_directory(self, directory: str, listed: list[ListedObject], *, with_records: bool) -> None:
        """Copy the records of one attempt, as far as they are not here yet."""
        place = self.path / directory
        with explain_disk_errors(place):
            place.mkdir(mode=0o700, exist_ok=True)
        for each in listed:
            name = each.name.rpartition("/")[2]
            if name in {RUN, LEDGER, LOG}:
                replace_file(place / name, self.folder.read_object(each.name))
        if not with_records:
            stand_in_for_records(place)
        for file in RECORD_FILES:
            self._fetch_segments(place / file, _segments_of(listed, file))

    def _fetch_segments(self, target: Path, segments: list[_Segment]) -> None:
        here = target.stat().st_size if target.exists() else 0
        end = 0
        for segment in segments:
            if segment.begin > end:
                raise RunDamaged(
                    f"{self.folder.address}/{segment.name} is there, and the segment before it is not. "
                    f"Restore it from a backup, or delete the segments after byte {end}."
                )
            end = max(end, segment.begin + segment.size)
            if end > here:
                self.folder.download_object(segment.name, target, segment.size, here - segment.begin)
                here = end

    def _fetch_file(self, names: tuple[str, str]) -> None:
        stored, here = names
        replace_file(self.path / here, self.folder.read_object(stored))

    # ---- writing

    def read_file(self, name: str) -> bytes | None:
        """Return a file that stands beside the attempts, as it is in the bucket."""
        return self.folder.read_if_there(f"{SHARDS}/{name}")

    def write_file(self, name: str, data: bytes) -> None:
        """Replace a file that stands beside the attempts, here and in the bucket."""
        super().write_file(name, data)
        self.folder.write_object(f"{SHARDS}/{name}", data)

    def claim_number(self, shard: int, number: int) -> int:
        """Return a number for a new attempt: of the next generation, and within it by chance."""
        super()._make_directory()
        while True:
            drawn = (number // GENERATION + 1) * GENERATION + secrets.randbelow(GENERATION)
            if self.folder.create_object(f"{SHARDS}/{shard:06}.{drawn}.claim", b"claimed\n"):
                self.unpublished.add(f"{shard:06}.{drawn}")
                self._own_marker(shard, drawn).touch()
                return drawn

    def publish(self, shard: int, number: int, *, is_over: bool = False) -> None:
        """Put the lines that no segment holds yet into the bucket. is_over: nothing writes to the attempt any more."""
        directory = self.attempt_path(shard, number).name
        with self._publishing:
            # What points to records goes after them.
            for file in RECORD_FILES:
                self._publish_lines(directory, file)
            for name in (RUN, LEDGER, LOG) if is_over else (RUN,):
                self._publish_file(f"{directory}/{name}")
            if directory not in self._announced:
                self._publish_file(f"{directory}.taken.json")
                self._announced.add(directory)
            if is_over:
                self.unpublished.discard(directory)
                self._own_marker(shard, number).unlink(missing_ok=True)

    def forget(self, shard: int) -> None:
        """Delete the copy of a shard, whose records are in the bucket."""
        for place in self.path.glob(f"{shard:06}.*"):
            if not any(place.name.startswith(attempt) for attempt in self.unpublished):
                shutil.rmtree(place) if place.is_dir() else place.unlink()

    def publish_seeds(self) -> None:
        """Put the records of earlier sessions without shards into the bucket."""
        for place in sorted(self.path.glob("*.seed")):
            for file in RECORD_FILES:
                self._publish_lines(place.name, file)

    def _own_marker(self, shard: int, number: int) -> Path:
        """A file that says that the attempt was begun here, and not copied from the bucket."""
        return self.path / f"{shard:06}.{number}.own"

    def left_attempts(self) -> list[tuple[int, int]]:
        """Return shard and number of the attempts that a killed process began here and did not publish whole."""
        begun = ((shard, number) for shard, numbers in self.all_attempts().items() for number in numbers)
        return [names for names in begun if self._own_marker(*names).exists()]

    def publish_left(self, shard: int, number: int) -> None:
        """Put the rest of an attempt into the bucket that a killed process began here."""
        directory = self.attempt_path(shard, number).name
        listed = self.folder.list_objects(f"{SHARDS}/{directory}/")
        for file in RECORD_FILES:
            segments = _segments_of(listed, file)
            self._published[f"{directory}/{file}"] = max((each.begin + each.size for each in segments), default=0)
        self.publish(shard, number, is_over=True)

    def mark_finished(self, shard: int, ended: Finished) -> bool:
        """Mark a shard as finished by this attempt. Of several markers the first one counts."""
        is_first = super().mark_finished(shard, ended)
        self.folder.write_object(f"{SHARDS}/{shard:06}.{ended.attempt}.done.json", msgspec.json.encode(ended) + b"\n")
        return is_first

    def put_aside(self) -> None:
        """Have the run go on without shards: they get other names, and the plan is the first of them.

        Killed meanwhile, the run has no plan, and the next call goes on.
        """
        if self.is_planned_in_bucket:
            self.folder.rename_objects({SHARDS_PLAN: MERGED_PLAN})
        names = [each.name for each in self.folder.list_objects(f"{SHARDS}/")]
        taken = {each.name.partition("/")[0] for each in self.folder.list_objects(f"{MERGED_SHARDS}.")}
        aside = next(name for number in count(1) if (name := f"{MERGED_SHARDS}.{number}") not in taken)
        self.folder.rename_objects({name: f"{aside}/{name.removeprefix(f'{SHARDS}/')}" for name in names})

    def _publish_file(self, name: str) -> None:
        path = self.path / name
        if path.exists():
            self.folder.write_object(f"{SHARDS}/{name}", path.read_bytes())

    def _publish_lines(self, directory: str, file: str) -> None:
        path, key = self.path / directory / file, f"{directory}/{file}"
        if not path.exists():
            return
        begin = self._published.get(key, 0)
        stem, _, ending = file.partition(".")
        for segment in _cut_segments(path, begin, end_of_lines(path)):
            self.folder.write_object(f"{SHARDS}/{directory}/{stem}.{begin}.{ending}", segment)
            begin += len(segment)
            self._published[key] = begin


def _attempts_in(listed: list[ListedObject]) -> dict[str, list[ListedObject]]:
    """Return the objects of each attempt that counts, and of each seed."""
    names = {each.name for each in listed}
    inside = defaultdict[str, list[ListedObject]](list)
    for each in listed:
        directory = _directory_of(each.name)
        if directory is not None and (directory.endswith(".seed") or f"{SHARDS}/{directory}.taken.json" in names):
            inside[directory].append(each)
    return inside


def _directory_of(name: str) -> str | None:
    """Return the attempt or seed in which an object stands, None if it stands beside them."""
    parts = name.split("/")
    return parts[1] if len(parts) == 3 and parts[0] == SHARDS else None


def _segments_of(listed: Iterable[ListedObject], file: str) -> list[_Segment]:
    """Return the segments of a record file in their order."""
    stem, _, ending = file.partition(".")
    found = []
    for each in listed:
        first, _, rest = each.name.rpartition("/")[2].partition(".")
        begin, _, last = rest.partition(".")
        if (first, last) == (stem, ending) and begin.isdecimal():
            found.append(_Segment(int(begin), each.size, each.name))
    return sorted(found)


def _small_files(listed: list[ListedObject]) -> Iterator[tuple[str, str]]:
    """Yield the files beside the attempts, each with its name in a shared directory."""
    finished: dict[str, ListedObject] = {}
    for each in listed:
        folder, _, name = each.name.partition("/")
        if folder != SHARDS or "/" in name:
            continue
        parts = name.split(".")
        if parts[2:] == ["done", "json"]:
            before = finished.get(parts[0])
            if before is None or (each.changed, each.name) < (before.changed, before.name):
                finished[parts[0]] = each
        elif parts[1:] == ["rows", "json"] or parts[2:] == ["taken", "json"] or parts[0] == "sessions":
            yield each.name, name
    for shard, marker in finished.items():
        yield marker.name, f"{shard}.done.json"


def _cut_segments(path: Path, begin: int, end: int) -> Iterator[bytes]:
    """Yield the lines between two bytes in pieces that end with a line, each of some megabytes."""
    with path.open("rb") as file:
        file.seek(begin)
        while begin < end:
            piece = file.read(min(SEGMENT_BYTES, end - begin))
            if not piece.endswith(b"\n"):
                whole = piece.rfind(b"\n") + 1
                piece = piece[:whole] if whole else piece + file.readline()
            yield piece
            begin += len(piece)
            file.seek(begin)


def copy_shards(folder: ObjectFolder, run: Path, *, with_records: bool = True) -> bool:
    """Copy the shards of a run in a bucket to a directory; return False where the merged files tell as much.

    with_records: False where sums suffice
    """
    shards = BucketShards(folder, run)
    if not shards.is_planned_in_bucket or shards.read_merged() is not None:
        return False
    shards.fetch_plan()
    shards.fetch_all(with_records=with_records)
    return True
