"""Turns the `usage` of a reply into meters that are priced and reported.

The names are listed here and nowhere else. `input` includes `cached`, and `output` includes `reasoning`, whatever the
provider's own way of counting is: meters say what is billed. Providers differ in where they put a count and in whether
reasoning stands inside the output or beside it. No list of providers is needed for that, since the sums tell (see
`_billed_output`). A detail that is zero, null or unknown is left out.

Three meters count no tokens. `reported_usd_ticks` is what the provider says the call cost. `contradictory` counts
replies whose numbers do not add up, and `uncounted` those that say something and count no output: neither is ever
taken for 0.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from arkbatch.core.usage import CONTRADICTORY, NO_USAGE, REPORTED_TICKS, TICKS_PER_USD, UNCOUNTED, Usage

INPUT_DETAILS = {
    "cache_write_tokens": "cache_write",
    "image_tokens": "image_input",
    "video_tokens": "video_input",
    "audio_tokens": "audio_input",
    "audio_cached_tokens": "audio_cached",
    "cache_creation_input_tokens": "cache_write",
    "provisioned_tokens": "provisioned_input",
}
OUTPUT_DETAILS = {
    "audio_tokens": "audio_output",
    "provisioned_tokens": "provisioned_output",
}
# Calls of built-in tools, under the names that OpenAI and Ark count them by. They cost money and are no tokens.
TOOL_METERS = {
    "web_search": "web_searches",
    "mcp": "mcp_calls",
    "knowledge_search": "knowledge_searches",
    "image_process": "image_processes",
    "doubao_app": "doubao_app_calls",
}
TOOL_CALL_METERS = frozenset(TOOL_METERS.values())
# OpenAI's and Anthropic's names, then those of Bedrock and of gateways written in JavaScript, then Gemini's own.
_INPUT_NAMES = ("prompt_tokens", "input_tokens", "promptTokens", "inputTokens", "promptTokenCount")
_OUTPUT_NAMES = ("completion_tokens", "output_tokens", "completionTokens", "outputTokens", "candidatesTokenCount")
_TOTAL_NAMES = ("total_tokens", "totalTokens", "totalTokenCount")
_CACHED_PLACES = (
    ("prompt_tokens_details", "cached_tokens"),
    ("input_tokens_details", "cached_tokens"),
    ("prompt_token_details", "cached_tokens"),  # Mistral, misspelt
    ("", "prompt_cache_hit_tokens"),  # DeepSeek
    ("", "cached_tokens"),  # Kimi
    ("", "num_cached_tokens"),  # Mistral
    ("", "cache_read_input_tokens"),  # Anthropic
    ("", "cacheReadInputTokens"),  # Bedrock
    ("", "cachedContentTokenCount"),  # Gemini
)
_REASONING_PLACES = (
    ("completion_tokens_details", "reasoning_tokens"),
    ("output_tokens_details", "reasoning_tokens"),
    ("", "reasoning_tokens"),  # SGLang
    ("", "thoughtsTokenCount"),  # Gemini
)
_CACHE_COUNTS_OF_ANTHROPIC = ("cache_read_input_tokens", "cache_creation_input_tokens")
_PLAIN_NAMES = frozenset(
    (
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
    )
)
_PLAIN_INPUT_DETAILS = {"cached_tokens": "cached", **INPUT_DETAILS}
_PLAIN_OUTPUT_DETAILS = {"reasoning_tokens": "reasoning", **OUTPUT_DETAILS}
_MAX_TOKENS_BELIEVED = 10**12  # a larger count of one call is a fault; it also keeps sums within 64 bits
_MAX_USD_BELIEVED = 10**5


def usage_in(reply: Mapping[str, Any], *, has_content: bool = False) -> Usage:
    """Return the meters of a reply, wherever in it the usage stands.

    has_content: the reply says something, so that an output of zero was not counted
    """
    if (plain := _plain_meters(reply.get("usage"))) is not None and not (has_content and not plain["output"]):
        return plain
    usage = _usage_object(reply)
    return NO_USAGE if usage is None else meters_of_usage(usage, has_content=has_content)


def _plain_meters(usage: object) -> dict[str, int] | None:
    """Return the meters of a usage in OpenAI's own form that adds up, as nearly all do; None: the rules decide."""
    if type(usage) is not dict or not usage.keys() <= _PLAIN_NAMES:
        return None
    # Embeddings put out no tokens, and count none.
    given, output, total = usage.get("prompt_tokens"), usage.get("completion_tokens", 0), usage.get("total_tokens")
    if not (type(given) is int and type(output) is int and type(total) is int):
        return None
    if given <= 0 or output < 0 or given + output != total or total > _MAX_TOKENS_BELIEVED:
        return None
    counted = {"input": given, "output": output}
    if "prompt_tokens_details" not in usage and "completion_tokens_details" not in usage:
        return counted
    for place, names, whole in (
        ("prompt_tokens_details", _PLAIN_INPUT_DETAILS, given),
        ("completion_tokens_details", _PLAIN_OUTPUT_DETAILS, output),
    ):
        details = usage.get(place)
        if not details or type(details) is not dict:
            continue
        for name, value in details.items():
            if value and name in names:
                if type(value) is not int or not 0 < value <= whole:
                    return None
                counted[names[name]] = value
    return counted


def meters_of_usage(usage: object, *, has_content: bool = False) -> Usage:
    """Return the meters of a usage object: `NO_USAGE` when it counts nothing, which is not a count of zero."""
    if type(usage) is not dict:
        return NO_USAGE
    given, total = _first_count(usage, _INPUT_NAMES), _first_count(usage, _TOTAL_NAMES)
    completion = _first_count(usage, _OUTPUT_NAMES)
    reasoning = _in_places(usage, _REASONING_PLACES)
    if given is None and completion is None and total is None:
        return _reported_alone(usage)
    if given is None:
        given = max(0, total - (completion or 0)) if total is not None else 0
    elif total is None and "prompt_tokens" not in usage:
        given += sum(_count_or_none(usage.get(name)) or 0 for name in _CACHE_COUNTS_OF_ANTHROPIC)  # which are beside it
    counted = {"input": given, "output": 0}
    _add_input_parts(counted, usage)
    if total is not None and total >= counted["input"] + (completion or 0):
        given = counted["input"]  # the total has the cached tokens that stand beside the input, too
    counted["output"], is_contradictory = _billed_output(given, completion, total, reasoning)
    if reasoning:
        counted["reasoning"] = reasoning
    _add_details(counted, usage, ("completion_tokens_details", "output_tokens_details"), OUTPUT_DETAILS)
    if is_contradictory:
        counted[CONTRADICTORY] = 1
    if has_content and not counted["output"]:
        counted[UNCOUNTED] = 1
    _add_reported_cost(counted, usage)
    return counted


def counts_anything(usage: object) -> bool:
    """Return whether a usage object counts some token: gateways end streams with zeros after the real counts."""
    if type(usage) is not dict:
        return False
    return any(_count_or_none(usage.get(name)) for name in (*_INPUT_NAMES, *_OUTPUT_NAMES, *_TOTAL_NAMES))


def _billed_output(given: int, completion: int | None, total: int | None, reasoning: int) -> tuple[int, bool]:
    """Return the output tokens that are billed, and whether the counts contradict each other.

    Where reasoning stands inside the completion, the total minus the input is the completion. Where it stands beside
    it (xAI, Gemini), the total alone has all of it. Reasoning that is larger than the completion cannot be inside
    (DeepInfra, whose total leaves it out, too).
    """
    said = completion or 0
    output, is_contradictory = said, False
    if total is not None:
        rest = total - given
        if rest > said and reasoning and rest > said + reasoning:
            output, is_contradictory = said + reasoning, True
        else:
            output = max(said, rest)
            is_contradictory = rest < said
    if reasoning > said:
        output = max(output, said + reasoning)
    return output, is_contradictory


def _add_input_parts(counted: dict[str, int], usage: Mapping[str, Any]) -> None:
    """Add what the input consists of. Cached tokens that outnumber the input stand beside it (xAI)."""
    if cached := _in_places(usage, _CACHED_PLACES):
        if cached > counted["input"]:
            counted["input"] += cached
        counted["cached"] = cached
    _add_details(counted, usage, ("prompt_tokens_details", "input_tokens_details"), INPUT_DETAILS)
    if (written := _count_or_none(usage.get("cache_creation_input_tokens"))) and "cache_write" not in counted:
        counted["cache_write"] = written


def _add_details(
    counted: dict[str, int], usage: Mapping[str, Any], places: Iterable[str], names: dict[str, str]
) -> None:
    for place in places:
        details = usage.get(place)
        if type(details) is dict:
            for name, value in details.items():
                if value and name in names and (count := _count_or_none(value)):
                    counted[names[name]] = count


def _usage_object(reply: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the usage that counts something, or else any.

    Streams have it in a choice (Kimi) or in `x_groq`, Gemini's own API in `usageMetadata`. Cohere tells what it bills
    beside what it has read.
    """
    usage = reply.get("usage")
    if counts_anything(usage):
        return usage
    choices = reply.get("choices")
    others = [choice.get("usage") for choice in choices if type(choice) is dict] if type(choices) is list else []
    others.append(reply.get("usageMetadata"))
    for outer, inner in ((reply.get("x_groq"), "usage"), (usage, "billed_units"), (reply.get("meta"), "billed_units")):
        if type(outer) is dict:
            others.append(outer.get(inner))
    counting = next((other for other in others if counts_anything(other)), usage)
    return counting if type(counting) is dict else None


def _reported_alone(usage: Mapping[str, Any]) -> Usage:
    """Return the meters of a usage that names a cost and counts no token."""
    counted: dict[str, int] = {}
    _add_reported_cost(counted, usage)
    return {"input": 0, "output": 0, UNCOUNTED: 1, **counted} if counted else NO_USAGE


def _add_reported_cost(counted: dict[str, int], usage: Mapping[str, Any]) -> None:
    """Add what the provider says it bills: xAI in ticks, OpenRouter and DeepInfra in USD."""
    ticks = _in_ticks(usage.get("cost_in_usd_ticks"), 1)
    if ticks is None:
        ticks = _in_ticks(usage.get("cost"), TICKS_PER_USD)
        details = usage.get("cost_details")
        if ticks is not None and usage.get("is_byok") is True and type(details) is dict:
            ticks += _in_ticks(details.get("upstream_inference_cost"), TICKS_PER_USD) or 0
    if ticks is None:
        ticks = _in_ticks(usage.get("estimated_cost"), TICKS_PER_USD)
    if ticks is not None:
        counted[REPORTED_TICKS] = ticks


def _in_ticks(value: object, factor: int) -> int | None:
    if (type(value) is not int and type(value) is not float) or not 0 <= value <= _MAX_USD_BELIEVED * TICKS_PER_USD:
        return None
    ticks = round(value * factor)
    return ticks if ticks <= _MAX_USD_BELIEVED * TICKS_PER_USD else None


def _in_places(usage: Mapping[str, Any], places: Iterable[tuple[str, str]]) -> int:
    """Return the first count that is not zero; a count that is told twice counts once."""
    for place, name in places:
        holder = usage.get(place) if place else usage
        if type(holder) is dict and (count := _count_or_none(holder.get(name))):
            return count
    return 0


def _first_count(usage: Mapping[str, Any], names: Iterable[str]) -> int | None:
    for name in names:
        if (count := _count_or_none(usage.get(name))) is not None:
            return count
    return None


def _count_or_none(value: object) -> int | None:
    """Return a count of tokens, also when it is written as `20.0` or `"20"`; None for what is no count."""
    if type(value) is int:
        count = value
    elif type(value) is float and value.is_integer():
        count = int(value)
    elif type(value) is str and len(value) < 20:
        try:
            count = int(float(value))
        except (ValueError, OverflowError):
            return None
    else:
        return None
    return count if 0 <= count <= _MAX_TOKENS_BELIEVED else None
