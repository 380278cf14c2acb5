"""Chunks on the wire: server-sent events as Ark frames them, and everything that may go wrong with them on the way.

A script is written before the first byte is sent: packets, the pause between two of them, and how it ends. So what a
fault does can be seen without a connection.
"""

import asyncio
from typing import Any, Literal

import orjson
from aiohttp import web
from msgspec import Struct

from arkbatch.simulator import breakage, chunks, faults, wire
from arkbatch.simulator.call import SimulatedCall

EVENTS = "text/event-stream"
_DONE = b"data: [DONE]\n\n"
_FIRST_SHARE = 0.2  # of the time that an answer takes, before the first packet


class Script(Struct, frozen=True):
    """What is written, and what becomes of the connection: it ends well, breaks, or hangs with nothing more to come."""

    packets: list[bytes]
    ending: Literal["end", "tear", "hang"] = "end"


def write_script(parts: list[chunks.Chunk], fault: str | None, model: str, request_id: str) -> Script:
    """The packets of one stream as a fault of the menu leaves them; faults that concern no stream leave it alone."""
    events = [_encode_event(part) for part in parts]
    before_end = sum(not chunks.ends_answer(part) for part in parts)
    half = events[: (before_end + 1) // 2]
    if fault and (error := faults.MENU[fault].inside):
        return Script([*half, b"data: " + wire.error_body(error, model, request_id) + b"\n\n"])
    match fault:
        case "drop_inside":
            return Script([*half, events[len(half)][:20]], "tear")
        case "stall_inside":
            return Script(half, "hang")
        case "truncated":
            return Script(half)
        case "garbled":
            return Script([*half, events[len(half)][:20] + b"\n\n", _DONE])
        case "no_choices":
            return Script([*events[before_end + 1 :], _DONE])
        case "no_done":
            return Script(events)
        case "split":
            return Script([packet for event in events for packet in _split_event(event)] + [_DONE])
        case "untidy":
            return Script([b": keep-alive\r\n\r\n", *map(_untidy_event, events), b"data:[DONE]"])
    return Script([*events, _DONE])


async def send_script(
    call: SimulatedCall, script: Script, seconds: float, closing: asyncio.Event
) -> web.StreamResponse:
    """Sends it over so many seconds: a fifth passes before the first packet, the rest between packets."""
    await asyncio.sleep(seconds * _FIRST_SHARE)
    response = web.StreamResponse(headers=call.reply_headers(EVENTS))
    await response.prepare(call.http)
    pause = seconds * (1 - _FIRST_SHARE) / max(1, len(script.packets) - 1)
    for place, packet in enumerate(script.packets):
        if place and pause:
            await asyncio.sleep(pause)
        await response.write(packet)
    match script.ending:
        case "tear":
            breakage.close_connection(call.http)
        case "hang":
            await closing.wait()
            breakage.hang_up(call.http)
    return response


def _encode_event(part: dict[str, Any]) -> bytes:
    """One event. Those of the Responses API have a name."""
    name = b"" if "choices" in part else b"event: " + part["type"].encode() + b"\n"
    return name + b"data: " + orjson.dumps(part) + b"\n\n"


def _split_event(event: bytes) -> list[bytes]:
    """In two packets, the first of which ends inside a character, if there is one of several bytes."""
    place = next((place for place, byte in enumerate(event) if byte >= 0x80), len(event) // 2) + 1
    return [event[:place], event[place:]]


def _untidy_event(event: bytes) -> bytes:
    """The same event as the format also allows it."""
    return b": keep-alive\r\n" + event.replace(b"data: ", b"data:", 1).replace(b"\n", b"\r\n")
