"""The resolved job, and the parts of it that a run keeps.

This module does not know where a value came from: flags, environment and files are merged before.
"""

from typing import Any

import msgspec
from msgspec import Struct, field

from arkbatch.core.job_sections import Notify, Sections
from arkbatch.core.secret import Access, Secret

SIMULATOR = "simulator"
CERTIFICATE_TEXT = "certificate_text"
ENDPOINT_SAID = "endpoint_said"


BATCH_FILE_LANES = frozenset({"files", "job"})  # rows travel in files, and the provider does the work


class Additions(Struct, frozen=True):
    """Headers and query parameters that the job adds to each call, with variables filled in.

    secrets: values of variables; none of them may reach a record
    has_key: a header or a query parameter carries the key, so that no `Authorization` header is sent
    """

    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    secrets: tuple[Secret, ...] = ()
    has_key: bool = False

    def __repr__(self) -> str:
        return f"Additions(headers={list(self.headers)}, query={list(self.query)})"


class Job(Sections, frozen=True, kw_only=True):
    """Everything that a run needs to know, completely resolved.

    input: path of the rows, "-" for standard input
    endpoint_said: the user named the endpoint, so that no row is taken for another one
    prices_file: a file of prices that take precedence over `prices`; "" for none
    row_limit: stop after this many rows of the input, None for all
    images: an absolute path, so that a later session finds it from any directory
    at_ark: requests go to Ark, so that rows are checked by its documented rules
    simulated: answers come from the simulator; the caller puts its address into `base_url`
    access: the access key to use in place of `api_key`, None when there is an API key
    certificate: the text of the certificate to encrypt with, "" to ask the service for one; it is no secret
    functions: the names in the module of `tools`, whose path is absolute
    schema_text: the schema of `validate`, whose path is absolute; "" for none
    notify: checked, so that a message can be sent to each address
    additions: `headers` and `query` with their values
    model_from, base_url_from: where these were set, for messages
    provider: the name of the provider whose dialect is used, "" where the address decides
    warnings: shown at the start of a run
    """

    input: str
    run_dir: str
    endpoint: str
    model: str
    base_url: str
    api_key: Secret
    endpoint_said: bool = False
    request_id_prefix: str = ""
    prices_file: str = ""
    row_limit: int | None = None
    at_ark: bool = True
    simulated: bool = False
    access: Access | None = None
    certificate: str = ""
    functions: tuple[str, ...] = ()
    schema_text: str = ""
    notify: Notify = Notify()
    additions: Additions = Additions()
    model_from: str = ""
    base_url_from: str = ""
    provider: str = ""
    warnings: tuple[str, ...] = ()


def answer_settings(job: Job) -> dict[str, Any]:
    """Return the part of a job that decides the answers.

    The values are plain JSON in a stable order. Limits, retries and timeouts may change between sessions. The
    simulator's address changes with each session, so its name stands for it.
    """
    said: dict[str, Any] = {
        "endpoint": job.endpoint,
        "model": job.model,
        "base_url": SIMULATOR if job.simulated else job.base_url,
        "defaults": job.defaults,
        "template": job.template,
        "replies": job.replies,
    }
    if job.lane == "batch":  # online calls and batch files give the same answers, and may follow one another
        said["lane"] = job.lane
    if job.encrypt:  # a run that began encrypted is not to go on in clear by a forgotten flag
        said["encrypt"] = True
    if job.functions:
        said["tools"] = sorted(job.functions)
    if job.schema_text:
        said["validate"] = {"schema": msgspec.json.decode(job.schema_text.removeprefix("\ufeff"))}
    plain: dict[str, Any] = msgspec.to_builtins(said, order="deterministic")
    return plain


def job_tables(job: Job) -> dict[str, Any]:
    """Return a job as the tables of a job file, as `run.json` keeps it.

    Input, run directory and key are left out. The text of a certificate replaces its path, since the file may be gone
    or changed when the run is resumed.
    """
    names = (*Sections.__struct_fields__, "endpoint", "model", "base_url", "request_id_prefix", "provider")
    plain: dict[str, Any] = msgspec.to_builtins({name: getattr(job, name) for name in names})
    if job.endpoint_said:
        plain[ENDPOINT_SAID] = True
    return plain | ({CERTIFICATE_TEXT: job.certificate} if job.certificate else {})
