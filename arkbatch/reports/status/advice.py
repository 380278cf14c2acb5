"""What a person can do about failed rows, by the kind of failure."""

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from arkbatch.core.calls import Kind
from arkbatch.core.language import Language
from arkbatch.journal.run_info import RunInfo
from arkbatch.pricing.price_book import provider_of
from arkbatch.protocol.error_codes import KEY, MODEL, PERMIT, RECHARGE
from arkbatch.protocol.setting_names import ANY_SERVER, SettingNames, setting_names
from arkbatch.rows.input_file import COMPRESSIONS

NO_ROWS = "The input has no rows: check that it is the right file, and run it again."

# What to do before the rows are sent again, and what to change in them.
_AGAIN: dict[str, tuple[str, str]] = {
    Kind.TIMEOUT: ("it may be over by now; --timeout TIME gives a model more time to think", ""),
    Kind.CONNECTION: ("check the network, the proxy variables and the base URL", ""),
    Kind.SERVER_ERROR: ("the service had a fault, which is often over later", ""),
    Kind.OVERLOADED: ("the service was too busy; later, or with a lower --concurrency, it may work", ""),
    Kind.RATE_LIMITED: ("later, or with a lower --rpm or --tpm, it may work", ""),
    Kind.BAD_REPLY: ("check that the base URL is that of an API and not of a web page", ""),
    Kind.INVALID_OUTPUT: ("fix the schema, or ask for its shape with response_format", "--set NAME=VALUE"),
    Kind.UNFINISHED: ("allow more rounds (max_rounds under [tools]), or tell the model when to stop", ""),
    Kind.TRUNCATED: ("the answer was cut off: allow a longer one", "--set max_tokens=N"),
    Kind.EMPTY: ("thinking may have used up the output: allow more, or turn thinking off", "--set max_tokens=N"),
    Kind.INVALID_REQUEST: ("the service refused a parameter: change it", "--set NAME=VALUE"),
    Kind.BAD_FILE: ("see that the file is in its place (--images DIR), is what it should be and not too large", ""),
    Kind.TOO_LONG: ("the row is too long for the model: name one with a longer context", "--model M"),
    Kind.NOT_FOUND: (MODEL, "--model M"),
    Kind.AUTH: (KEY, ""),
    Kind.DENIED: (PERMIT, ""),
    Kind.BILLING: (RECHARGE, ""),
    Kind.QUOTA: ("a quota is used up: raise it in the console, or wait until it resets", ""),
}
# The format in which a table goes out, by the ending of its input; JSON lines are a table where a template uses them.
_ANSWERS_AS = {
    **dict.fromkeys(("csv", "psv", "tab", "txt"), "csv"),
    **dict.fromkeys(("xlsx", "xlsm", "xls", "xlsb", "ods"), "xlsx"),
    **dict.fromkeys(("parquet", "arrow", "feather"), "parquet"),
    "tsv": "tsv",
}
_MEND: dict[str, str] = {
    Kind.BAD_ROW: "fix these lines in the input, which `arkbatch check` lists",
    Kind.BLOCKED: "moderation refused the text, and most likely will again: change these rows in the input",
}


def names_of_run(job: Mapping[str, Any]) -> SettingNames:
    """Return the names of the settings of a run. `job`: as its run.json has it."""
    url = str(job.get("base_url") or "")
    is_ark = provider_of(url) in {"ark", "byteplus"}
    return setting_names(
        "", url, at_ark=is_ark, headers=_texts_in(job.get("headers")), query=_texts_in(job.get("query"))
    )


def _texts_in(table: object) -> dict[str, str]:
    """Return the texts of a table; none where a damaged run.json holds something else."""
    values = table.items() if isinstance(table, dict) else ()
    return {name: value for name, value in values if isinstance(value, str)}


def next_step(kinds: Iterable[str], run_dir: str, command: str) -> str:
    """Return what to do about the failed rows of a finished run.

    command: the `arkbatch run` that it came from, if known
    """
    if not set(kinds) <= _MEND.keys():
        return f"Send the failed rows again:  arkbatch retry {shlex.quote(run_dir)}"
    again = command if command.endswith(" --rebase") else f"{command} --rebase"
    if not command:
        return "Fix the failed rows in the input, then run it with --rebase."
    return f"Fix the failed rows in the input, then run it with --rebase:  {again}"


def read_answers_step(info: RunInfo, run_dir: str) -> str:
    """Return the line that says how to read the answers of a finished run: as a table, where the input is one."""
    directory = shlex.quote(run_dir)
    name = info.input.path.replace("\\", "/").rpartition("/")[2]
    for compression in COMPRESSIONS:
        name = name.removesuffix(compression)
    stem, _, ending = name.rpartition(".")
    table_ending = _ANSWERS_AS.get(ending.lower(), "jsonl" if info.asked.get("template") else "")
    if not table_ending or info.input.files:
        return f"Read one answer:  arkbatch show {directory} 1"
    file = shlex.quote(f"{stem}-answers.{table_ending}")
    return f"Write the table with its answers:  arkbatch answers {directory} -o {file}"


def advice_for(kind: str, run_dir: str, language: Language = Language.ENGLISH, names: SettingNames = ANY_SERVER) -> str:
    """Return one sentence, with the command that follows. `names`: of the settings of the run."""
    if kind in _MEND:
        keeping = "{sentence}, then run with --rebase, which keeps all other results"
        return language.say(keeping, sentence=language.say(_MEND[kind]))
    sentence, flags = _AGAIN.get(kind, ("see what the service said", ""))
    sentence = names.fill_in(sentence)
    command = f"arkbatch retry {shlex.quote(run_dir)} --kind {kind} {flags}".strip()
    return language.say("{sentence}, then: {command}", sentence=language.say(sentence), command=command)
