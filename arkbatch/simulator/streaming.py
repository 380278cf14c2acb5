"""Streams chunks as server-sent events in Ark's form, with the faults of a stream.

A script is written before the first byte is sent: the packets, the pause between two of them, and the end. So the
effect of a fault can be tested without a connection.
"""

import asyncio
from typing import Any, Literal

import orjson
from aiohttp import web
from msgspec import Struct

from arkbatch.simulator import broken_connections, chunks, dialects, faults, wire
from arkbatch.simulator.call import SimulatedCall

EVENTS = "text/event-stream"
_DONE = b"data: [DONE]\n\n"
_FIRST_SHARE = 0.2  # of the time that an answer takes, before the first packet


class Script(Struct, frozen=True):
    """The packets of a stream, and how it ends: well, broken or silent."""

    packets: list[bytes]
    ending: Literal["end", "tear", "hang"] = "end"
    content_type: str = EVENTS


def write_script(parts: list[chunks.Chunk], fault: str | None, model: str, request_id: str) -> Script:
    """Return the packets of one stream as a dialect writes them, or as a fault changes them."""
    if fault and fault in dialects.DIALECTS and "choices" in parts[0]:
        packets, content_type = dialects.write_packets(fault, parts)
        return Script(packets, content_type=content_type)
    return _write_events(parts, fault, model, request_id)


def _write_events(parts: list[chunks.Chunk], fault: str | None, model: str, request_id: str) -> Script:
    """Return the packets in Ark's form."""
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
    """Send a script in so many seconds.

    A fifth of them passes before the first packet, the rest between packets.
    """
    await asyncio.sleep(seconds * _FIRST_SHARE)
    response = web.StreamResponse(headers=call.reply_headers(script.content_type))
    await response.prepare(call.http)
    pause = seconds * (1 - _FIRST_SHARE) / max(1, len(script.packets) - 1)
    for place, packet in enumerate(script.packets):
        if place and pause:
            await asyncio.sleep(pause)
        await response.write(packet)
    match script.ending:
        case "tear":
            broken_connections.close_connection(call.http)
        case "hang":
            await closing.wait()
            broken_connections.hang_up(call.http)
    return response


def _encode_event(part: dict[str, Any]) -> bytes:
    """Return one event; those of the Responses API have a name."""
    name = b"" if "choices" in part else b"event: " + part["type"].encode() + b"\n"
    return name + b"data: " + orjson.dumps(part) + b"\n\n"


def _split_event(event: bytes) -> list[bytes]:
    """Split an event into two packets, inside of a multi-byte character if there is one."""
    place = next((place for place, byte in enumerate(event) if byte >= 0x80), len(event) // 2) + 1
    return [event[:place], event[place:]]


def _untidy_event(event: bytes) -> bytes:
    """Return the same event in another form that the standard allows."""
    return b": keep-alive\r\n" + event.replace(b"data: ", b"data:", 1).replace(b"\n", b"\r\n")
