"""The sections of a job: the frozen types of the tables in a job file.

Each section is written down once. Its ranges and the sentence that explains it stand beside the field: the checks of
a job file, their error messages and its JSON Schema are made from them. `Sections` lists the sections that a job file
and a `Job` have in common; a new section is one Struct and one line there. Ranges are checked where text becomes
values (`config.job_file`), and not when code builds a policy.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from arkbatch.core.schedule import ALWAYS, read_due, read_window
from arkbatch.core.secret import Secret
from arkbatch.core.template_syntax import Reading, Template

OnEmpty = Literal["retry", "fail", "keep"]


Worth = Literal["end", "halt", "budget", "outage", "late", "stop"]


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """How many calls, requests and tokens the service may be asked for."""

    concurrency: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description="Calls in flight at the same time, at most. Left out: 32, and 512 at Ark.",
        ),
    ] = 32
    rpm: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Requests a minute. Left out: as many as the server grants."),
    ] = None
    tpm: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Tokens a minute, input and output together. Left out: as many as the server grants."),
    ] = None
    input_tpm: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Input tokens a minute, where they have a limit of their own; cached ones count."),
    ] = None
    output_tpm: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Output tokens a minute, where they have a limit of their own; reasoning counts."),
    ] = None
    max_cost: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="The most that the whole run may cost, in the currency of its model's price."),
    ] = None
    max_total_tokens: Annotated[
        Annotated[int, Meta(gt=0)] | None,
        Meta(description="The most tokens that the whole run may use, input and output together."),
    ] = None
    mode: Annotated[
        Literal["adaptive", "fixed"],
        Meta(description="`fixed`: send at these limits whatever is refused; a refused row waits as it was told."),
    ] = "adaptive"


class RetryPolicy(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether and how long a row is tried again; times are seconds."""

    max_attempts: Annotated[int, Meta(ge=1, le=1000, description="Calls that may fail before the row is given up.")] = 5
    first_delay: Annotated[
        float, Meta(gt=0, le=3600, description="Seconds before the second attempt; it doubles from there.")
    ] = 1.0
    max_delay: Annotated[
        float, Meta(gt=0, le=86_400, description="The longest wait between two attempts, in seconds.")
    ] = 60.0
    patience: Annotated[
        float,
        Meta(
            gt=0,
            description="Seconds that a row may wait out rate and overload answers; they cost no attempt.",
        ),
    ] = 43_200.0
    give_up_after: Annotated[
        float,
        Meta(gt=0, description="Seconds that the service may be away before the run halts; rows stay undone."),
    ] = 43_200.0

    def __post_init__(self) -> None:
        if self.max_delay < self.first_delay:
            raise ValueError(f"first_delay {self.first_delay:g} is more than max_delay {self.max_delay:g}")


class Timeouts(Struct, frozen=True, forbid_unknown_fields=True):
    """Timeouts in seconds.

    A whole call has no limit unless one is set: thinking models take half an hour.
    """

    connect: Annotated[float, Meta(gt=0, le=3600, description="Seconds to reach the server.")] = 10.0
    read: Annotated[
        float,
        Meta(
            gt=0,
            le=259_200,
            description="Seconds without data before a call is given up; comments and blank lines do not count. "
            "On the batch lane 259200 when left out.",
        ),
    ] = 1800.0
    call: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Seconds that a whole call may take, however much comes. Left out: as long as data comes."),
    ] = None


class ReplyPolicy(Struct, frozen=True, forbid_unknown_fields=True):
    """What is done with an answer that is cut off, empty or filtered."""

    retry_on_finish_reason: Annotated[
        frozenset[str], Meta(description='Finish reasons that are worth another attempt, such as "length".')
    ] = frozenset()
    fail_on_finish_reason: Annotated[
        frozenset[str], Meta(description="Finish reasons that make the row a failure.")
    ] = frozenset({"content_filter"})
    on_empty: Annotated[
        OnEmpty,
        Meta(description="An answer without content: retry it, fail the row, or keep it as a result."),
    ] = "retry"


class Validate(Struct, frozen=True, forbid_unknown_fields=True):
    """What chat answers must look like; other endpoints are not checked."""

    schema: Annotated[
        str, Meta(description="A JSON Schema, relative to this file, that the text of each chat answer must satisfy.")
    ] = ""
    attempts: Annotated[
        int, Meta(ge=1, le=100, description="Answers that may be unfit before the row fails as invalid_output.")
    ] = 3


class ToolUse(Struct, frozen=True, forbid_unknown_fields=True):
    """The functions that chat models may call.

    Without a module, an answer that calls tools is an answer like any other.
    """

    module: Annotated[
        str, Meta(description="A Python file, relative to this one, whose functions are run when a model calls them.")
    ] = ""
    max_rounds: Annotated[
        int, Meta(ge=1, le=1000, description="How often a row may call tools before it fails as unfinished.")
    ] = 10
    timeout: Annotated[float, Meta(gt=0, description="Seconds that one function may take.")] = 60.0


class Embeddings(Struct, frozen=True, forbid_unknown_fields=True):
    """How embeddings are requested and stored."""

    vectors: Annotated[
        Literal["json", "base64"],
        Meta(description="base64: record each vector as little-endian float32, a third as large as its numbers."),
    ] = "json"
    pack: Annotated[
        int | Literal["auto"],
        Meta(
            description="How many texts of rows that follow one another go in one call: a number, at Ark 256 at most, "
            "or auto for what the service advises, 4 at Ark and 64 elsewhere."
        ),
    ] = 1


class Files(Struct, frozen=True, forbid_unknown_fields=True):
    """How rows travel in batch files, with lane = "files" or "job"."""

    form: Annotated[
        str, Meta(description="The provider's form of batch files, such as openai; left out: by the address.")
    ] = ""
    window: Annotated[
        str, Meta(description="How long the provider may take (completion_window), such as 24h; left out: the form's.")
    ] = ""
    rows: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="Rows in one file, at most. Left out: 10000 or fewer.")
    ] = None
    bytes: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="Bytes of one file, at most. Left out: the provider's.")
    ] = None
    tokens: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Input tokens of one model that may wait at the provider; left out: learned from a refusal."),
    ] = None
    rest: Annotated[
        Literal["parcels", "online"],
        Meta(description="online: rows that a batch gives back go as online calls, in time for [hours] finish_by."),
    ] = "parcels"
    keep_remote: Annotated[
        bool, Meta(description="Keep the files at the provider after their rows are recorded here.")
    ] = False
    bucket: Annotated[
        str, Meta(description='With lane = "job": the bucket of TOS for the files, in the region of Ark.')
    ] = ""
    prefix: Annotated[str, Meta(description="What the keys of these files begin with, such as a folder.")] = "arkbatch"


class Notify(Struct, frozen=True, forbid_unknown_fields=True):
    """Who is notified about a run that nobody watches.

    It is not kept in the run directory, since the addresses hold tokens.
    """

    urls: Annotated[
        list[Annotated[Secret, Meta(extra_json_schema={"type": "string"})]],
        Meta(description="Where messages go: an https address takes JSON, others go by Apprise. ARKBATCH_NOTIFY wins."),
    ] = field(default_factory=list)
    command: Annotated[
        list[str],
        Meta(description="A program with its arguments, which is given each message as JSON on standard input."),
    ] = field(default_factory=list)
    on: Annotated[
        list[Worth],
        Meta(description="What is worth a message; stop (Ctrl-C) is not, unless it is named."),
    ] = field(default_factory=lambda: ["end", "halt", "budget", "outage", "late"])
    outage_after: Annotated[
        float, Meta(gt=0, description="Seconds that the service is away before that is worth a message.")
    ] = 600.0

    def __bool__(self) -> bool:
        return bool(self.urls or self.command)


class Schedule(Struct, frozen=True, forbid_unknown_fields=True):
    """When calls may be sent, and when the run should be done."""

    window: Annotated[
        str | None,
        Meta(description="Hours in which calls go, each day: 22:00-08:00, local or with a place: ... Asia/Shanghai."),
    ] = None
    finish_by: Annotated[
        str | None,
        Meta(description="When it is to be done: 08:00 or 2026-11-22 08:00. It only says whether it will be."),
    ] = None

    def __post_init__(self) -> None:
        if self.window is not None and self.window != ALWAYS:
            read_window(self.window)
        if self.finish_by is not None:
            read_due(self.finish_by)


class Sections(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sections that a job file and a `Job` have in common."""

    stream: Annotated[
        bool, Meta(description="Have chat answers streamed; what is recorded is the same. A row may say otherwise.")
    ] = False
    lane: Annotated[
        Literal["online", "batch", "files", "job"],
        Meta(
            description="batch: Ark's lane at half price, for ep-bi-... endpoints; calls are held open for hours. "
            "files: batch files at half price, for providers that have them. "
            "job: Ark's batch inference jobs over files in a bucket of TOS, at half price."
        ),
    ] = "online"
    hedge: Annotated[
        bool,
        Meta(
            description="Ask once more where an answer takes far longer than is usual; the first wins, both are paid."
        ),
    ] = False
    encrypt: Annotated[
        bool, Meta(description="Encrypt what messages say, and refuse to send what cannot be encrypted. Ark only.")
    ] = False
    confidential: Annotated[
        bool, Meta(description="With encrypt: in the flavour of Ark's confidential computing (AICC).")
    ] = False
    images: Annotated[
        str,
        Meta(description="The directory of the images and videos that rows name as files; without it none is read."),
    ] = ""
    project: Annotated[
        str, Meta(description="The project of plain model ids, which access keys need; not for ep-... ids.")
    ] = ""
    defaults: Annotated[
        dict[str, Any],
        Meta(description="Request parameters for every row that does not set them itself; sent as they are."),
    ] = field(default_factory=dict)
    headers: Annotated[
        dict[str, str],
        Meta(description='Headers of each call, such as a gateway\'s tag; "env:NAME" takes a secret from a variable.'),
    ] = field(default_factory=dict)
    query: Annotated[
        dict[str, str],
        Meta(description='What stands behind the ? of each call, such as api-version; "env:NAME" as for headers.'),
    ] = field(default_factory=dict)
    template: Annotated[Template | None, Meta(description="Builds the request from a row's columns.")] = None
    reading: Reading = Reading()
    limits: Limits = Limits()
    hours: Schedule = Schedule()
    retry: RetryPolicy = RetryPolicy()
    timeouts: Timeouts = Timeouts()
    replies: ReplyPolicy = ReplyPolicy()
    tools: ToolUse = ToolUse()
    validate: Validate = Validate()
    embeddings: Embeddings = Embeddings()
    files: Files = Files()
    prices: Annotated[
        dict[str, Any],
        Meta(description="Prices of your own, over those that arkbatch knows: [[prices.model]] and [prices.map]."),
    ] = field(default_factory=dict)
