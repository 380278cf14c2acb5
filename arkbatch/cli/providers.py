"""`arkbatch providers`: the providers that are known by name, and what is known of each."""

from __future__ import annotations

import click


@click.command(name="providers")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print what is known as JSON.")
def command(name: str | None, as_json: bool) -> None:
    """List the providers for --provider, or show what is known of NAME.

    \b
    Example:
      arkbatch providers deepseek
    """
    import msgspec

    from arkbatch.cli.standard_streams import user_language
    from arkbatch.core.errors import UsageError
    from arkbatch.protocol.dialects import NAMES, all_dialects, dialect_named
    from arkbatch.reports.text.summary import aligned_lines
    from arkbatch.reports.text.tables import grid_lines

    if name is not None and name not in NAMES:
        raise UsageError(f"{name} is not a known provider; known are {', '.join(NAMES)}")
    dialects = all_dialects() if name is None else [dialect_named(name)]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(dialects)).decode())
        return
    language = user_language()
    if name is None:
        say = language.say
        rows = [
            (each.name, each.title, each.key or say("no key"), each.base_url or say("its own")) for each in dialects
        ]
        click.echo("\n".join(grid_lines(("name", "provider", "key", "address"), rows, language, "")))
        return
    facts = [
        (language.say(label), str(getattr(dialects[0], label)))
        for label in ("title", "base_url", "key", "usage", "limits", "batch", "source")
        if getattr(dialects[0], label)
    ]
    codes = ", ".join(f"{code} {meaning.value}" for code, meaning in dialects[0].errors.items())
    click.echo("\n".join(aligned_lines([*facts, *([(language.say("errors"), codes)] if codes else [])], "")))
