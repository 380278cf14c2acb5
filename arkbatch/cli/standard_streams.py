"""Makes the standard streams safe: a broken one never stops a run."""

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arkbatch.core.language import Language


class LastingStream(io.TextIOWrapper):
    """A text stream that discards its text once its reader or terminal has gone, or its disk is full."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            self._go_silent()
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            self._go_silent()

    def _go_silent(self) -> None:
        """Point the descriptor at the null device, so that the rest of the buffer can be flushed."""
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self.fileno())
        os.close(nothing)


def open_closed_descriptors() -> None:
    """Open descriptors 0, 1 and 2 where the parent closed them.

    A file or a socket that got such a number would be taken for a standard stream; libuv aborts the process then.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")


def make_lasting(name: str) -> None:
    """Put a stream that cannot fail in the place of `sys.stdout` or `sys.stderr`."""
    stream = getattr(sys, name)
    if (
        stream is getattr(sys, f"__{name}__") and type(stream) is io.TextIOWrapper
    ):  # not one that a program has put there
        encoding, errors = stream.encoding, stream.errors
        setattr(sys, name, LastingStream(stream.detach(), encoding, errors, line_buffering=True))


def user_language() -> "Language":
    """Return the language of the user, by the environment."""
    from arkbatch.core.language import language_of

    return language_of(os.environ)


def echo_text(text: str, *, err: bool = True) -> None:
    """Print a text in the user's language, on standard error unless told otherwise."""
    import click

    from arkbatch.core.text import printable_text

    click.echo(printable_text(user_language().translate_text(text)), err=err)


def echo_note(remark: str) -> None:
    """Print a remark. A command at the end of a line stands alone, so that it can be pasted."""
    import click

    from arkbatch.core.language import Language
    from arkbatch.core.text import printable_text

    language = user_language()
    mark = "" if ":  " in remark else "。" if language is Language.CHINESE else "."
    click.echo(printable_text(f"{language.say('Note:')} {language.translate_text(remark)}{mark}"), err=True)
