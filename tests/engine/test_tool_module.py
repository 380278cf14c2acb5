"""A module of functions becomes tools; whatever becomes of a call, there is something to tell the model."""

import asyncio
import sys
import threading

import pytest
from virtual import run_virtual

from arkbatch.core.errors import UsageError
from arkbatch.engine.tool_module import call_function, load_tool_module, tools_of
from arkbatch.protocol.tool_calls import ToolCall, ToolResult

MODULE = '''
import asyncio
import dataclasses
import json
from json import dumps
from typing import Annotated, Literal, Optional

from msgspec import Meta

@dataclasses.dataclass
class Place:
    lat: float
    lon: float

def add(a: int, b: int = 2):
    """Add two numbers."""
    return a + b

def at(place: Place, unit: Literal["km", "mile"] = "km", tags: Optional[list[str]] = None) -> dict:
    return {"lat": place.lat, "unit": unit, "tags": tags}

def any_of(x): return x
def odd(): return {1, 2}
def surrogate(): return "\\ud800"
def nothing(): return None
def hidden(): return later()
def breaks(): raise ValueError("no\\nsuch city")
def leaves(): raise SystemExit(3)
def ends(): return next(iter([]))
def own_timeout(): raise TimeoutError("mine")
async def later(seconds: Annotated[float, Meta(ge=0)] = 0.0):
    await asyncio.sleep(seconds)
    return "later"
async def cancelled(): raise asyncio.CancelledError
def _private(): return 1
'''


@pytest.fixture
def module(tmp_path):
    count = iter(range(100))

    def loaded(text=MODULE):
        path = tmp_path / f"m{next(count)}.py"
        path.write_text(text, encoding="utf-8")
        return load_tool_module(path, "weather.py")

    return loaded


def told(functions, name, **arguments):
    return run_virtual(call_function(functions, ToolCall("c", name, arguments), 5.0))


def test_its_own_functions_without_an_underscore_are_the_tools(module):
    names = "add at any_of odd surrogate nothing hidden breaks leaves ends own_timeout later cancelled"
    assert list(module()) == names.split()
    assert list(module("__all__ = ['dedent']\nfrom textwrap import dedent\ndef other(): pass\n")) == ["dedent"]


def test_a_tool_is_described_by_its_signature_and_docstring(module):
    add, at = tools_of(module())[:2]
    assert add == {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Add two numbers.",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "required": ["a"],
            },
        },
    }
    parameters = at["function"]["parameters"]
    assert parameters["properties"]["place"] == {"$ref": "#/$defs/Place"}
    assert parameters["$defs"]["Place"]["required"] == ["lat", "lon"]
    assert parameters["properties"]["unit"] == {"enum": ["km", "mile"]}


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("add", {"a": 1}, "3"),
        ("add", {"a": "1", "b": 5}, "6"),
        ("at", {"place": {"lat": 1, "lon": 2}}, '{"lat":1.0,"unit":"km","tags":null}'),
        ("any_of", {"x": "春"}, "春"),
        ("any_of", {"x": ["春"]}, '["春"]'),
        ("nothing", {}, "null"),
        ("hidden", {}, "later"),
        ("later", {"seconds": 1}, "later"),
    ],
)
def test_a_text_is_told_as_it_is_and_anything_else_as_json(module, name, arguments, text):
    assert told(module(), name, **arguments) == ToolResult(text)


@pytest.mark.parametrize(
    ("name", "arguments", "trouble", "said"),
    [
        ("fly", {}, "unknown tool", "there is no tool fly; there are add, at,"),
        ("_private", {}, "unknown tool", "there is no tool"),
        ("add", {}, "bad arguments", "add needs a"),
        ("add", {"a": 1, "c": 1}, "bad arguments", "add has no parameter c; it has a, b"),
        ("add", {"a": "x"}, "bad arguments", "a: Expected `int`, got `str`"),
        ("at", {"place": {"lat": 1}}, "bad arguments", "place: Object missing required field `lon`"),
        ("later", {"seconds": -1}, "bad arguments", "seconds: Expected `float` >= 0"),
        ("odd", {}, "no result", "neither text nor JSON (set)"),
        ("surrogate", {}, "no result", "neither text nor JSON (str)"),
        ("ends", {}, "RuntimeError", "RuntimeError: StopIteration()"),
        ("breaks", {}, "ValueError", "ValueError: no such city"),
        ("leaves", {}, "SystemExit", "SystemExit: 3"),
        ("own_timeout", {}, "TimeoutError", "TimeoutError: mine"),
        ("later", {"seconds": 60}, "timeout", "later took longer than 5 s"),
        ("cancelled", {}, "cancelled", "was cancelled"),
    ],
)
def test_what_goes_wrong_is_told_to_the_model(module, name, arguments, trouble, said):
    result = told(module(), name, **arguments)
    assert result.trouble == trouble
    assert result.text.startswith("error: ")
    assert said in result.text


def test_a_call_that_could_not_be_read_is_told_so(module):
    result = run_virtual(call_function(module(), ToolCall("c", "add", problem="the arguments are no JSON"), 5.0))
    assert result == ToolResult("error: the arguments are no JSON", "bad call")


def test_a_thread_that_takes_too_long_is_left_alone_and_not_waited_for(module):
    functions = module("import threading\nfree = threading.Event()\ndef hangs():\n    free.wait()\n")
    began = threading.active_count()
    result = asyncio.run(call_function(functions, ToolCall("c", "hangs"), 0.01))
    assert result.trouble == "timeout"
    (left,) = [thread for thread in threading.enumerate() if thread.name == "tool"]
    assert left.daemon
    sys.modules[functions["hangs"].run.__module__].free.set()
    left.join(5)
    assert threading.active_count() == began


def test_functions_of_the_loop_and_of_threads_run_where_they_should(module):
    text = "import threading\ndef sync(): return threading.current_thread().name\n"
    text += "async def awaited(): return threading.current_thread().name\n"
    functions = module(text)
    assert (told(functions, "sync").text, told(functions, "awaited").text) == ("tool", "MainThread")


def test_cancelling_the_row_cancels_the_function(module):
    async def main():
        task = asyncio.ensure_future(call_function(functions, ToolCall("c", "later", {"seconds": 3}), 5.0))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    functions = module()
    run_virtual(main())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_of_that_name\ndef f(): pass\n", "weather.py, line 1: ModuleNotFoundError: No module named"),
        ("def f(:\n  pass\n", "weather.py, line 1: SyntaxError: invalid syntax"),
        ("\n\ndef f():\n  return 1\nf.x.y\n", "weather.py, line 5: AttributeError"),
        ("def g():\n  raise OSError('a\\nb')\ng()\n", "weather.py, line 2: OSError: a b"),
        ("raise SystemExit(2)\n", "weather.py, line 1: SystemExit: 2"),
        ("x = 1\n", "weather.py has no function"),
        ("def f(*args): pass\n", "weather.py: f takes *args"),
        ("def f(a, /): pass\n", "weather.py: f takes a"),
        ("def f(a: 'Gone'): pass\n", "weather.py: the parameters of f cannot be read: name 'Gone'"),
        ("def f(a: type(None) | object()): pass\n", "weather.py, line 1: TypeError"),
        ("class C: pass\ndef f(a: C): pass\n", "weather.py: a parameter of f has a type that JSON has not"),
        ("def 天气(): pass\n", "weather.py: 天气 cannot be the name of a tool"),
    ],
)
def test_a_module_that_cannot_be_used_is_one_line_with_its_number(module, text, said):
    with pytest.raises(UsageError) as refused:
        module(text)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_module(tmp_path):
    with pytest.raises(UsageError, match=r"m cannot be read: No such file"):
        load_tool_module(tmp_path / "none.py", "m")


def test_it_runs_once_prints_to_stderr_leaves_no_cache_and_finds_its_neighbours(tmp_path, capsys):
    (tmp_path / "beside_talk.py").write_text("VALUE = 7\n")
    (tmp_path / "main_talk.py").write_text("from beside_talk import VALUE\nprint('hello')\ndef f(): return VALUE\n")
    try:
        first, second = (load_tool_module(tmp_path / "main_talk.py", "m") for _ in range(2))
    finally:
        sys.path.remove(str(tmp_path))
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "hello\n")
    assert first["f"].run is second["f"].run
    assert told(first, "f").text == "7"
    assert not (tmp_path / "__pycache__" / "main_talk.pyc").exists()
