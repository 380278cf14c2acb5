"""The names of request parameters, which separate a row's parameters from its other columns.

The list is of Ark, OpenAI and the servers that people run themselves (vLLM, SGLang, llama.cpp) and of large providers
beside them, as their references name them in November 2026. Left out are names that are far more often columns of a
data set: `metadata`, `store`, `audio`, `task`. A parameter that is missing here goes into `body` or `[defaults]`.
"""

from collections.abc import Mapping
from typing import Any

from arkbatch.core.text import suggest_name
from arkbatch.protocol.endpoints import chat, embeddings, multimodal, responses, tokenization
from arkbatch.protocol.endpoints.parameter_checks import MISTAKEN

# What a request is about, and no parameter of it.
CONTENT = frozenset({"messages", "input", "text", "prompt", "system"})
_CHAT = """
    cache_control caching chat_template_kwargs context_id enable_search enable_thinking function_call functions
    guided_choice guided_grammar guided_json guided_regex ignore_eos include_reasoning include_stop_str_in_output
    length_penalty min_p min_tokens modalities prediction prompt_cache_key prompt_cache_retention random_seed
    reasoning repetition_penalty safe_prompt safety_identifier search_options seed skip_special_tokens stop_token_ids
    structured_outputs thinking_budget top_a top_k typical_p verbosity web_search_options
"""
_EMBEDDINGS = "input_type normalize output_dimension output_dtype prompt_name truncate_prompt_tokens truncation"
_RESPONSES = """
    background conversation include parallel_tool_calls prompt_cache_key safety_identifier stream stream_options
    top_logprobs truncation user
"""
_EMBEDDINGS_KNOWN = frozenset({*embeddings.CHECKS, *multimodal.CHECKS, *_EMBEDDINGS.split()} - CONTENT - set(MISTAKEN))
# By endpoint.
_KNOWN = {
    "chat": frozenset({*chat.CHECKS, *_CHAT.split()} - CONTENT - set(MISTAKEN)),
    responses.NAME: frozenset({*responses.CHECKS, *_RESPONSES.split()} - {"input"} - set(MISTAKEN)),
    "embeddings": _EMBEDDINGS_KNOWN,
    multimodal.NAME: _EMBEDDINGS_KNOWN,
    tokenization.NAME: frozenset(set(tokenization.CHECKS) - CONTENT - set(MISTAKEN)),
}
# Of a table's cells, which are all text, these stay text; the others are read as JSON where they are JSON.
TEXT_PARAMETERS = frozenset({"model", "user", "reasoning_effort", "service_tier", "encoding_format", "stop"})
# Data sets have columns of these names that hold text; as parameters they are objects.
_OBJECTS = frozenset({"reasoning", "prediction", "text"})


def known_parameters(endpoint: str) -> frozenset[str]:
    """Return the parameters of requests to an endpoint; for an unknown path, none."""
    return _KNOWN.get(endpoint, frozenset())


def is_parameter(endpoint: str, name: str, value: Any) -> bool:
    """Whether a column of a bare row is sent as a parameter."""
    return name in known_parameters(endpoint) and not (name in _OBJECTS and not isinstance(value, dict))


def parameters_among(endpoint: str, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a bare row that are sent as parameters, and those that are meant as one by mistake."""
    known = _KNOWN.get(endpoint, frozenset())
    return {
        name: value
        for name, value in columns.items()
        if (name in known and (name not in _OBJECTS or isinstance(value, dict))) or name in MISTAKEN
    }


def near_parameter(endpoint: str, name: str) -> str | None:
    """Return the parameter that a misspelt name probably means; None for a parameter and for any other name."""
    known = known_parameters(endpoint)
    if name in known or len(name) < 4:
        return None
    return suggest_name(name.lower().replace("-", "_"), known, likeness=0.85) or None
