"""The commands that `arkbatch ctl` sends to a running session, and the replies.

One JSON line goes in each direction. The reader of a line checks its size, its types and its version.
`engine.command_handler` carries a command out; `monitor.control_socket` carries the lines.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from arkbatch.core.errors import UsageError
from arkbatch.core.limit_changes import LimitChange
from arkbatch.core.text import suggest_name

VERSION = 1
LONGEST = 16_384  # bytes of a line
_REASON = 500  # characters; it is kept in run.json

_Count = Annotated[int, Meta(ge=1, le=100_000)]
_Rate = Annotated[float, Meta(gt=0, le=1e12)]  # and an amount of money


class Pause(Struct, frozen=True, tag="pause"):
    """Command: begin no call; calls in flight finish."""


class Resume(Struct, frozen=True, tag="resume"):
    """Command: continue after a pause."""


class Drain(Struct, frozen=True, tag="drain"):
    """Command: end the session when the calls in flight have ended."""


class ShowStatus(Struct, frozen=True, tag="status"):
    """Command: report the state of the session."""


class SetLimits(Struct, frozen=True, tag="set", omit_defaults=True, forbid_unknown_fields=True):
    """Command: change limits; None removes a limit, and an unset one stays."""

    concurrency: _Count | UnsetType = UNSET
    rpm: _Rate | UnsetType | None = UNSET
    tpm: _Rate | UnsetType | None = UNSET
    input_tpm: _Rate | UnsetType | None = UNSET
    output_tpm: _Rate | UnsetType | None = UNSET
    max_cost: _Rate | UnsetType = UNSET

    def changed_limits(self) -> dict[str, int | float | None]:
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not UNSET}


Action = Pause | Resume | Drain | ShowStatus | SetLimits


class Command(Struct, frozen=True, omit_defaults=True):
    """A command with its origin.

    by: the program that sent it; reason: the sender's own words
    """

    v: int
    do: Action
    reason: Annotated[str, Meta(max_length=_REASON)] = ""
    by: Annotated[str, Meta(max_length=40)] = "ctl"


def describe_change(steered: LimitChange) -> str:
    """Return a change as one line."""
    why = " ".join(steered.reason.split())
    return f"By {steered.by}: {steered.did}{f' ({why})' if why else ''}"


def limits_after(
    begun_with: Mapping[str, int | float | None], steered: Iterable[LimitChange], until: str = "9"
) -> dict[str, int | float | None]:
    """Return the limits of a session before a moment (ISO 8601, in UTC)."""
    limits = dict(begun_with)
    for each in steered:
        if each.at <= until:
            limits |= each.limits
    return limits


def pause_of(steered: Sequence[LimitChange]) -> LimitChange | None:
    """Return the pause that is in force after these changes, or None."""
    turns = [each for each in steered if each.do in {Pause.__struct_config__.tag, Resume.__struct_config__.tag}]
    return turns[-1] if turns and turns[-1].do == Pause.__struct_config__.tag else None


class SessionState(Struct, frozen=True):
    """The state of a running session, as it answers `ctl status`.

    held: why no call begins, each with the time since when; empty when calls are sent
    limits: the current ones; of_job: the job's own values of those that were changed
    rpm, tpm: over the last minute; left, failed: rows
    """

    session: int
    stopping: bool
    held: dict[str, str]
    limits: dict[str, int | float | None]
    of_job: dict[str, int | float | None]
    in_flight: int
    rpm: float
    tpm: float
    left: int
    failed: int
    bound_by: str


class CommandReply(Struct, frozen=True, omit_defaults=True):
    """The reply to a command.

    said: one line for a person; error: why the command was not carried out, empty when it was
    """

    v: int
    said: str = ""
    error: str = ""
    state: SessionState | None = None


_SIMPLE: dict[str, Action] = {"pause": Pause(), "resume": Resume(), "drain": Drain(), "status": ShowStatus()}
ACTIONS = (*_SIMPLE, "set")
_ALLOWED = {
    "concurrency": "a whole number from 1 to 100,000",
    "rpm": "a number above 0, or none",
    "tpm": "a number above 0, or none",
    "input_tpm": "a number above 0, or none",
    "output_tpm": "a number above 0, or none",
    "max_cost": "a number above 0",
}
# A session without a budget does not record costs, so a budget that was removed could not be set again.
_NEVER_NONE = {"concurrency", "max_cost"}
_EXAMPLES = {"concurrency": 40, "max_cost": 50}


def parse_command(action: str, words: Sequence[str], reason: str = "") -> Command:
    """Parse a command line such as `set rpm=600`.

    Raises UsageError with what is wrong and what is allowed.
    """
    if len(reason) > _REASON:
        raise UsageError(f"--reason has {len(reason)} characters; it may have {_REASON}.")
    return Command(VERSION, _parse_action(action, words), reason)


def _parse_action(action: str, words: Sequence[str]) -> Action:
    match action:
        case "set":
            return _parse_limits(words)
        case _ if action in _SIMPLE:
            if words:
                raise UsageError(f"{action} takes nothing behind it, and there is {words[0]}.")
            return _SIMPLE[action]
        case _:
            hint = suggest_name(action, ACTIONS, "Did you mean {}? ")
            raise UsageError(f"{action} is not a command. {hint}Commands are: {', '.join(ACTIONS)}.")


def _parse_limits(words: Sequence[str]) -> SetLimits:
    if not words:
        raise UsageError("set what? For example: set rpm=600 concurrency=40")
    values: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if name not in _ALLOWED:
            hint = suggest_name(name, _ALLOWED, "Did you mean {}? ")
            raise UsageError(f"{name} cannot be set. {hint}Known are: {', '.join(_ALLOWED)}.")
        if not equals or not text:
            raise UsageError(f"{name} needs a value: {name}={_EXAMPLES.get(name, 600)}")
        if name in values:
            raise UsageError(f"{name} is set twice.")
        values[name] = _parse_limit(name, text)
    return msgspec.convert(values, SetLimits)


def _parse_limit(name: str, text: str) -> float | None:
    if text == "none" and name not in _NEVER_NONE:
        return None
    kind: Any = _Count if name == "concurrency" else _Rate
    try:
        number: float = msgspec.convert(float(text.replace("_", "")), kind, strict=False)
    except ValueError:  # msgspec's ValidationError is one
        raise UsageError(f"{name}={text} is not allowed: it must be {_ALLOWED[name]}.") from None
    return number


_commands = msgspec.json.Decoder(Command)
_answers = msgspec.json.Decoder(CommandReply)
_versions = msgspec.json.Decoder(dict[str, Any])


def encode_line(line: Command | CommandReply) -> bytes:
    return msgspec.json.encode(line) + b"\n"


def decode_command(line: bytes) -> Command:
    """Decode a command; UsageError when it is none, or of an unknown version."""
    _check_version(line)
    try:
        return _commands.decode(line)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UsageError(f"This is not a command: {error}.") from error


def decode_reply(line: bytes) -> CommandReply:
    """Decode a reply; UsageError when it is none, or of an unknown version."""
    _check_version(line)
    try:
        return _answers.decode(line)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UsageError(f"The running process answered something else: {error}.") from error


def _check_version(line: bytes) -> None:
    try:
        version = _versions.decode(line).get("v")
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise UsageError(f"This is not one JSON object on a line: {error}.") from error
    if version != VERSION:
        raise UsageError(f"This speaks version {version!r} of the commands, the other side {VERSION}. Update arkbatch.")
