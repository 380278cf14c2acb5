"""What a person can do about failed rows, by the kind of failure."""

import shlex

from arkbatch.core.records import Kind
from arkbatch.core.rules import KEY, MODEL, PERMIT, RECHARGE

# Whether sending the row again can help, and what to change before.
_AGAIN = {
    Kind.TIMEOUT: "it may be over by now; if the model thinks for long, give more time with --timeout S",
    Kind.CONNECTION: "check the network, the proxy variables and the base URL",
    Kind.SERVER_ERROR: "the service had a fault, which is often over later",
    Kind.OVERLOADED: "the service was too busy; try later, or with a lower --concurrency",
    Kind.RATE_LIMITED: "try later, or with a lower --rpm or --tpm",
    Kind.BAD_REPLY: "check that the base URL is an API and no web page",
    Kind.TRUNCATED: "the answer was cut off: allow more with --set max_tokens=N",
    Kind.EMPTY: "the output allowance may be used up by thinking: raise --set max_tokens=N, or turn thinking off",
    Kind.INVALID_REQUEST: "the service refused a parameter: change it with --set NAME=VALUE, or mend the row",
    Kind.TOO_LONG: "name a model with a longer context with --model M, or shorten the row",
    Kind.NOT_FOUND: MODEL,
    Kind.AUTH: KEY,
    Kind.DENIED: PERMIT,
    Kind.BILLING: RECHARGE,
    Kind.QUOTA: "a quota is used up: raise it in the console or wait until it resets, or name another --model M",
}
_MEND = {
    Kind.BAD_ROW: "mend these lines in the input",
    Kind.BLOCKED: "moderation refused the text, and will again: change these rows in the input",
}


def advice(kind: str, run_dir: str) -> str:
    """One sentence, with the command."""
    if kind in _MEND:
        return f"{_MEND[Kind(kind)]}, then run with --rebase, which keeps all other results"
    retry = f"arkbatch retry {shlex.quote(run_dir)} --kind {kind}"
    return f"{_AGAIN[Kind(kind)]}; then: {retry}" if kind in _AGAIN else retry
