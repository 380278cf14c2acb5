"""The functions of a Python module of the user's, as tools that a model calls.

The module is run once, when a job is resolved, with the user's own rights: whoever may write it may do all that the
user may. Its functions without an underscore are the tools, or those that its `__all__` names. What it prints goes to
stderr. Modules beside it can be imported.

A plain function runs in a thread of its own, an `async` one in the event loop. A thread cannot be stopped: a function
that takes longer than its time is left alone, and the process does not wait for it in the end. Values are converted to
the types of the parameters before the call; what goes wrong is told to the model, which may do better.
"""

import asyncio
import contextlib
import inspect
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import msgspec
from msgspec import Struct

from arkbatch.core.errors import UsageError
from arkbatch.protocol.error_body import one_line
from arkbatch.protocol.tool_calls import ToolCall, ToolResult, failed_result, text_of

_LONGEST_NAME = 64
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Function(Struct, frozen=True):
    """One tool. `types`: of each parameter; `required`: those without a default."""

    name: str
    run: Callable[..., Any]
    about: str
    types: Mapping[str, Any]
    required: tuple[str, ...]

    @property
    def tool(self) -> dict[str, Any]:
        """As a request declares it, by the types of its parameters and its docstring."""
        shapes, inner = msgspec.json.schema_components(list(self.types.values()), ref_template="#/$defs/{name}")
        parameters: dict[str, Any] = {"type": "object", "properties": dict(zip(self.types, shapes, strict=True))}
        parameters["required"] = list(self.required)
        if inner:
            parameters["$defs"] = inner
        about = {"description": self.about} if self.about else {}
        return {"type": "function", "function": {"name": self.name, **about, "parameters": parameters}}

    def arguments(self, given: Mapping[str, Any]) -> dict[str, Any] | str:
        """The values for a call, or why there can be none."""
        if unknown := [name for name in given if name not in self.types]:
            return f"{self.name} has no parameter {unknown[0]}; it has {', '.join(self.types) or 'none'}"
        if missing := [name for name in self.required if name not in given]:
            return f"{self.name} needs {missing[0]}"
        values = {}
        for name, value in given.items():
            try:
                values[name] = msgspec.convert(value, self.types[name], strict=False)
            except msgspec.ValidationError as error:
                return f"{name}: {error}"
        return values


Functions = Mapping[str, Function]


def load_tool_module(path: Path, label: str) -> Functions:
    """The functions of a module by name. UsageError: there are none, or they cannot be; one line, with its number.

    It is run once in a process: Python's own table of modules remembers it.
    """
    name = f"arkbatch_tools_{blake2b(str(path).encode(), digest_size=8).hexdigest()}"
    module = sys.modules.get(name) or _run_module(path, name, label)
    listed = getattr(module, "__all__", None)
    found = {
        key: value
        for key, value in vars(module).items()
        if (key in listed if listed is not None else _is_own(key, value, name)) and callable(value)
    }
    if not found:
        raise UsageError(f"{label} has no function whose name begins without an underscore")
    return {key: _describe_function(key, value, label) for key, value in found.items()}


async def call_function(functions: Functions, asked: ToolCall, seconds: float) -> ToolResult:
    """Run one function, for so many seconds at most. Whatever becomes of it, there is something to tell."""
    function = functions.get(asked.name)
    if asked.problem:
        return failed_result("bad call", asked.problem)
    if function is None:
        return failed_result("unknown tool", f"there is no tool {asked.name}; there are {', '.join(functions)}")
    arguments = function.arguments(asked.arguments)
    if isinstance(arguments, str):
        return failed_result("bad arguments", arguments)
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            result = await _run_function(function.run, arguments)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return failed_result("cancelled", f"{asked.name} was cancelled")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the function is the user's, and may raise anything
        if limit.expired():
            return failed_result("timeout", f"{asked.name} took longer than {seconds:g} s")
        return failed_result(type(error).__name__, one_line(f"{type(error).__name__}: {error}"))
    return text_of(result)


async def _run_function(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    if inspect.iscoroutinefunction(function):
        return await function(**arguments)
    result = await asyncio.get_running_loop().run_in_executor(_Threads(), lambda: function(**arguments))
    return await result if inspect.isawaitable(result) else result  # a decorator may hide that it is async


class _Threads(Executor):
    """A thread for each call that ends with the process: a pool would be waited for, and a stuck function for ever."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **more: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # it cannot be cancelled from now on

        def run() -> None:
            try:
                result = function(*args, **more)
            except StopIteration as error:  # such as of `next`; no future of asyncio can hold one, and it would wait on
                future.set_exception(RuntimeError(repr(error)))
            except BaseException as error:  # noqa: BLE001 - as a pool does: it is raised where it is waited for
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=run, name="tool", daemon=True).start()
        return future


def _run_module(path: Path, name: str, label: str) -> ModuleType:
    """Run the module. Not by way of an import, which would leave a `__pycache__` beside it."""
    module = ModuleType(name)
    module.__file__ = str(path)
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{label} cannot be read: {error.strerror} (looked at {path})") from error
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # last, so that it hides nothing
    sys.modules[name] = module
    try:
        with contextlib.redirect_stdout(sys.stderr):
            exec(compile(source, str(path), "exec"), vars(module))  # noqa: S102 - the user asks for it
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UsageError(f"{label}{_line_of(error, path)}: {_error_text(error)}") from error
    return module


def _line_of(error: BaseException, path: Path) -> str:
    """Where in the module it happened."""
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == str(path) else None
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == str(path):
            line = frame.lineno
    return "" if line is None else f", line {line}"


def _error_text(error: BaseException) -> str:
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return one_line(f"{type(error).__name__}: {said}")


def _is_own(key: str, value: object, module: str) -> bool:
    """Not what it imported, and nothing private."""
    return not key.startswith("_") and inspect.isfunction(value) and value.__module__ == module


def _describe_function(name: str, run: Callable[..., Any], label: str) -> Function:
    if not name.isascii() or len(name) > _LONGEST_NAME:
        raise UsageError(f"{label}: {name} cannot be the name of a tool: {_LONGEST_NAME} letters, digits and _ at most")
    try:
        parameters = inspect.signature(run).parameters.values()
        hints = get_type_hints(run, include_extras=True)
    except (TypeError, ValueError, NameError) as error:
        raise UsageError(f"{label}: the parameters of {name} cannot be read: {error}") from error
    if odd := [str(each) for each in parameters if each.kind not in _NAMED]:
        raise UsageError(f"{label}: {name} takes {odd[0]}, and a model gives each argument by its name")
    types = {each.name: hints.get(each.name, Any) for each in parameters}
    required = tuple(each.name for each in parameters if each.default is inspect.Parameter.empty)
    function = Function(name, run, inspect.getdoc(run) or "", types, required)
    try:
        function.tool  # noqa: B018 - each type must have a JSON Schema
    except TypeError as error:
        raise UsageError(
            f"{label}: a parameter of {name} has a type that JSON has not: {one_line(str(error))}"
        ) from error
    return function


def tools_of(functions: Functions) -> Sequence[dict[str, Any]]:
    """As a request declares them."""
    return [function.tool for function in functions.values()]
