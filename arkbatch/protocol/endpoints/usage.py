"""How a reply's `usage` becomes meters, the names under which usage is added up, priced and reported.

The names are listed here and nowhere else. `input` includes `cached`, and `output` includes `reasoning`, as in
the service's own counts. A detail that is zero, null or unknown to the tables is left out.
"""

from arkbatch.core.types import NO_USAGE, Usage

INPUT_DETAILS = {
    "cached_tokens": "cached",
    "cache_write_tokens": "cache_write",
    "image_tokens": "image_input",
    "video_tokens": "video_input",
    "audio_tokens": "audio_input",
    "audio_cached_tokens": "audio_cached",
    "provisioned_tokens": "provisioned_input",
}
OUTPUT_DETAILS = {
    "reasoning_tokens": "reasoning",
    "audio_tokens": "audio_output",
    "provisioned_tokens": "provisioned_output",
}


def meters(usage: object) -> Usage:
    """`NO_USAGE` when the reply did not count; that is not the same as a count of zero."""
    if type(usage) is not dict:
        return NO_USAGE
    given = _count(usage.get("prompt_tokens")) or _count(usage.get("input_tokens"))
    counted = {"input": given, "output": _count(usage.get("completion_tokens")) or _count(usage.get("output_tokens"))}
    if details := usage.get("prompt_tokens_details") or usage.get("input_tokens_details"):
        _add_details(counted, details, INPUT_DETAILS)
    if details := usage.get("completion_tokens_details") or usage.get("output_tokens_details"):
        _add_details(counted, details, OUTPUT_DETAILS)
    return counted


def _count(value: object) -> int:
    return value if type(value) is int and value > 0 else 0


def _add_details(counted: dict[str, int], details: object, names: dict[str, str]) -> None:
    if type(details) is not dict:
        return
    for name, value in details.items():
        if value and name in names and (count := _count(value)):
            counted[names[name]] = count
