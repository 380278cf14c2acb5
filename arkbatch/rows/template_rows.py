"""Builds requests with a template: the columns of a row become its texts.

Columns are data here and never parameters of the request. A value that is missing or empty makes a bad row, unless the
job says otherwise; a placeholder with a question mark, `{note?}`, may always be empty.
"""

from collections.abc import Mapping
from typing import Any

from arkbatch.core.row import Body
from arkbatch.core.template_syntax import ALL_COLUMNS, DOUBLE_BRACES, Piece, Template, split_template
from arkbatch.core.text import suggest_name
from arkbatch.protocol.endpoints import multimodal, responses, tokenization
from arkbatch.rows.cells import column_of, is_empty, text_of, value_of

# The endpoints that take messages, and the key under which they take them.
TALKS = {"chat": "messages", responses.NAME: "input"}
_SHOWN = 8  # names of columns in a message


class TemplateRows:
    """A template, parsed once.

    send_empty: missing and empty values are sent as nothing
    """

    def __init__(self, template: Template, endpoint: str, *, send_empty: bool) -> None:
        self._endpoint = endpoint
        self._image = template.image
        self._send_empty = send_empty
        wanted = ("system", "user") if endpoint in TALKS else ("input",)
        texts = {name: getattr(template, name) for name in wanted}
        self._parts: dict[str, list[Piece]] = {name: split_template(text) for name, text in texts.items() if text}
        self._names = [name for parts in self._parts.values() for _, name in parts if name is not None]

    def used_columns(self, columns: Mapping[str, Any]) -> list[str]:
        """The columns that the request is made of."""
        if ALL_COLUMNS in self._names:
            return list(columns)
        named = [*self._names, *([self._image] if self._image else [])]
        return list(dict.fromkeys(column_of(columns, _bare_name(columns, name)) for name in named))

    def fill_template(self, columns: Mapping[str, Any]) -> Body | str:
        """Return the request, or why there is none."""
        filled: dict[str, str] = {}
        for name, parts in self._parts.items():
            text, lack = self._fill_text(parts, columns)
            if lack is not None:
                return self._why_refused(name, lack, columns)
            filled[name] = text
        if self._endpoint not in TALKS:
            return self._of_text(filled["input"], columns)
        content = self._content_with_image(filled["user"], columns)
        if isinstance(content, _Lack):
            return self._why_refused("image", content.column, columns)
        system = [{"role": "system", "content": filled["system"]}] if "system" in filled else []
        return {TALKS[self._endpoint]: [*system, {"role": "user", "content": content}]}

    def _fill_text(self, parts: list[Piece], columns: Mapping[str, Any]) -> tuple[str, str | None]:
        """Return the text, and the column that is missing for it, if any."""
        texts = []
        for literal, name in parts:
            texts.append(literal)
            if name == ALL_COLUMNS and name not in columns:
                texts.append(_all_columns(columns))
            elif name is not None:
                bare = _bare_name(columns, name)
                value = value_of(columns, bare)
                if is_empty(value):
                    if bare == name and not (self._send_empty and column_of(columns, bare) in columns):
                        return "", name
                    continue
                texts.append(value if isinstance(value, str) else text_of(value))
        return "".join(texts), None

    def lacks_value(self, columns: Mapping[str, Any]) -> bool:
        """Whether a value that the request needs is missing or empty."""
        return any(
            name != ALL_COLUMNS and _bare_name(columns, name) == name and is_empty(value_of(columns, name))
            for name in self._names
        )

    def _content_with_image(self, text: str, columns: Mapping[str, Any]) -> Any:
        """Return a user message with the row's image, if its column is named."""
        if self._image is None:
            return text
        address = value_of(columns, self._image)
        if is_empty(address):
            return text if self._send_empty else _Lack(self._image)
        return [{"type": "text", "text": text}, image_part(str(address))]

    def _of_text(self, text: str, columns: Mapping[str, Any]) -> Body | str:
        if self._endpoint == multimodal.NAME and self._image is not None:
            address = value_of(columns, self._image)
            if is_empty(address):
                return self._why_refused("image", self._image, columns)
            return {"input": [*multimodal.in_parts(text), image_part(str(address))]}
        return about_text(text, self._endpoint)

    def _why_refused(self, part: str, name: str, columns: Mapping[str, Any]) -> str:
        column = column_of(columns, name)
        if column in columns:
            lack = "is missing" if value_of(columns, name) is None else "is empty"
            lack += " (say --empty skip or --empty send if that is meant)"
        else:
            lack = f"the line lacks (it has {shown_names(columns)})"
            near = suggest_name(name, columns)
            lack += f"; {near}, not {name}?" if near else ""
            lack += f"; {DOUBLE_BRACES}" if not name.isidentifier() and not near else ""
        return f"the template's {part} needs the column {name}, which {lack}"


class _Lack:
    """The column that is missing for a request."""

    def __init__(self, column: str) -> None:
        self.column = column


def image_part(address: str) -> dict[str, Any]:
    """Return the part of a message for an image."""
    return {"type": "image_url", "image_url": {"url": address}}


def about_text(text: str, endpoint: str) -> Body:
    """Return the body with one text for an endpoint without messages."""
    if endpoint == tokenization.NAME:
        return {"text": text}
    return {"input": multimodal.in_parts(text) if endpoint == multimodal.NAME else text}


def shown_names(columns: Mapping[str, Any]) -> str:
    """Return the first columns, for a message."""
    names = list(columns)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "no columns") + more


def _bare_name(columns: Mapping[str, Any], name: str) -> str:
    """Return a placeholder without its question mark."""
    return name[:-1] if name.endswith("?") and name not in columns else name


def _all_columns(columns: Mapping[str, Any]) -> str:
    return "\n".join(f"{name}: {text_of(value)}" for name, value in columns.items() if not is_empty(value))


def needs_template(value: Mapping[str, Any]) -> str:
    """Return what to do about columns that make no request, with the flag for it."""
    if "conversations" in value:
        return (
            "the columns are ShareGPT's: give a template that takes the first turn, "
            "--prompt '{conversations.0.value}', or write the turns as messages"
        )
    if "instruction" in value:
        more = r"\n\n{input?}" if "input" in value else ""
        return (
            "the columns are Alpaca's (instruction, input, output): they need a template, "
            f"--prompt $'{{instruction}}{more}'"
        )
    return (
        'the line has none of "messages", "input", "prompt" and "body"; '
        f"its columns ({shown_names(value)}) need a template: --prompt '{{{_column_of_longest_text(value)}}}'"
    )


def _column_of_longest_text(value: Mapping[str, Any]) -> str:
    """Return the column with the longest text, which is most often the one to ask about."""
    texts = {name: len(each) for name, each in value.items() if isinstance(each, str)}
    return max(texts, key=lambda name: texts[name], default=next(iter(value), "column"))
