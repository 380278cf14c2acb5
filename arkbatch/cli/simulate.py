"""`arkbatch simulate`: serves the simulator until Ctrl-C."""

import asyncio
import contextlib
import errno
import ipaddress
from collections import Counter
from typing import Any

import click

from arkbatch.cli.signals import wait_for_stop
from arkbatch.core.errors import UsageError
from arkbatch.simulator.faults import BATCH_MENU, MENU
from arkbatch.simulator.settings import ACCESS_KEY, CERTIFICATES, Settings


@click.command(epilog="What each fault does: arkbatch simulate --list-faults")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8321, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option("--expose", is_flag=True, help="Allow a host that other machines can reach.")
@click.option("--rpm", type=click.IntRange(1), help="Requests allowed in any 60 seconds, per model.")
@click.option("--tpm", type=click.IntRange(1), help="Tokens allowed in any 60 seconds, per model.")
@click.option("--rps", type=click.IntRange(1), help="Requests allowed in any second, per model.")
@click.option("--max-inflight", type=click.IntRange(1), help="Calls at a time, per model.")
@click.option("--retry-after", is_flag=True, help="Say Retry-After with each online 429; Ark does not.")
@click.option("--latency", default=0.0, metavar="SECONDS", help="Mean time to an answer.")
@click.option("--fault", multiple=True, metavar="NAME=RATE", help="Such as overloaded=0.05; repeatable.")
@click.option("--key", "keys", multiple=True, help="An accepted API key; repeatable. Without: any key.")
@click.option("--model", "models", multiple=True, help="A known model; repeatable. Without: any but unknown-*.")
@click.option("--access-key", "pairs", multiple=True, metavar="ID:SECRET", help="A pair that may sign; repeatable.")
@click.option("--key-seconds", type=click.IntRange(1), help="Longest life of a temporary key.")
@click.option("--key-rpm", type=click.IntRange(1), help="Temporary keys handed out in any 60 seconds.")
@click.option("--batch-hold", default=0.0, metavar="SECONDS", help="Mean time that a batch call is worked on.")
@click.option("--batch-slots", type=click.IntRange(1), help="Batch calls worked on at a time; the rest wait in line.")
@click.option("--batch-queue", type=click.IntRange(0), help="Batch calls that may wait; the next one is a 429.")
@click.option("--batch-retry-after", type=click.IntRange(1), help="Seconds that this 429 says to wait.")
@click.option("--batch-seconds", default=0.0, metavar="SECONDS", help="Mean time that a batch of files takes.")
@click.option("--batch-store", default="", metavar="DIR", help="Keep files and batches here, also after a restart.")
@click.option("--batch-fault", "batch_fault", multiple=True, metavar="NAME=RATE", help="Such as lost_create=0.2.")
@click.option("--enqueued-tokens", type=click.IntRange(1), help="Tokens of one model that may wait in batches.")
@click.option("--upload-bytes", type=click.IntRange(1), help="Bytes of a batch file at most; a larger one is a 413.")
@click.option("--chunks", type=click.IntRange(1), help="Equal pieces of a streamed text. Without: short, uneven ones.")
@click.option("--certificate", type=click.Choice(CERTIFICATES), default="good", help="For encrypted calls.")
@click.option("--blobs", default=1, type=click.IntRange(1), help="Encrypted texts in a row that an answer comes in.")
@click.option("--bill", default="", metavar="FILE", help="Add a line with the tokens of each answer to this file.")
@click.option("--seed", default=0, show_default=True, help="Another seed gives other answers and faults.")
@click.option("--list-faults", is_flag=True, help="Print the fault menu and leave.")
def command(
    host: str,
    port: int,
    *,
    expose: bool,
    list_faults: bool,
    fault: tuple[str, ...],
    pairs: tuple[str, ...],
    batch_fault: tuple[str, ...],
    **chosen: Any,
) -> None:
    """Serve an Ark look-alike on this machine: no key, no cost. Chat (streaming, tools, encryption), embeddings,
    tokenization, the batch lane and temporary keys.

    \b
    Examples:
      arkbatch simulate
      arkbatch simulate --rpm 300 --latency 0.5 --fault overloaded=0.05 --fault stall=0.001
      arkbatch simulate --batch-hold 30 --batch-slots 100 --batch-queue 1000 --batch-retry-after 5
    """
    if list_faults:
        _print_menu()
    elif expose or _is_loopback(host):
        access_keys = dict(map(_parse_pair, pairs)) or dict([ACCESS_KEY])
        batch_faults = dict(map(_parse_rate, batch_fault))
        settings = Settings(
            faults=dict(map(_parse_rate, fault)), batch_faults=batch_faults, access_keys=access_keys, **chosen
        )
        asyncio.run(_serve_until_stopped(settings, host, port))
    else:
        raise UsageError(f"{host} can be reached from other machines; add --expose if that is meant")


async def _serve_until_stopped(settings: Settings, host: str, port: int) -> None:
    from arkbatch.simulator.server import Counters, serve

    counters = Counters()
    async with contextlib.AsyncExitStack() as stack:
        try:
            url = await stack.enter_async_context(serve(settings, host, port, counters=counters))
        except OSError as error:
            raise UsageError(_why_unusable(host, port, error)) from error
        _print_greeting(url, settings)
        await wait_for_stop()
    _say_goodbye(counters.outcomes)


def _why_unusable(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is taken on {host}; choose another with --port, or 0 for any free one"
    return f"cannot listen on {host} port {port}: {error.strerror or error}"


def _print_greeting(url: str, settings: Settings) -> None:
    key = "<one of the keys given>" if settings.keys else "anything"
    access_key, secret = next(iter(settings.access_keys.items()))
    secret = secret if (access_key, secret) == ACCESS_KEY else "<its secret>"
    menu = click.wrap_text(", ".join(MENU), width=96, initial_indent="  ", subsequent_indent="  ")
    click.echo(f"Simulating Ark at {url} until Ctrl-C. To point a client at it:", err=True)
    click.echo(f"  export ARK_BASE_URL={url}", err=True)
    click.echo(f"  export ARK_API_KEY={key}", err=True)
    click.echo(
        "or, in the place of that key, with an access key, which opens the control plane that is here too:", err=True
    )
    click.echo(f"  export ARK_CONTROL_PLANE={url.removesuffix('/api/v3')}/", err=True)
    click.echo(f"  export VOLC_ACCESSKEY={access_key} VOLC_SECRETKEY={secret}", err=True)
    click.echo(f"Faults, by --fault NAME=RATE or by [[fault:NAME]] in a prompt:\n{menu}", err=True)


def _say_goodbye(outcomes: Counter[str]) -> None:
    parts = [f"{count} {outcome}" for outcome, count in outcomes.most_common()]
    click.echo(f"Stopped after {outcomes.total()} calls: {', '.join(parts) or 'none came'}.", err=True)


def _print_menu() -> None:
    for name, fault in MENU.items():
        click.echo(f"{name:19}{fault.about}")
    click.echo("Of batches, by --batch-fault NAME=RATE:")
    for name, about in BATCH_MENU.items():
        click.echo(f"{name:19}{about}")


def _parse_rate(written: str) -> tuple[str, float]:
    name, _, rate = written.partition("=")
    try:
        return name, float(rate)
    except ValueError:
        raise UsageError(f"--fault {written}: expected NAME=RATE, such as overloaded=0.05") from None


def _parse_pair(written: str) -> tuple[str, str]:
    access_key, _, secret = written.partition(":")
    if not access_key or not secret:
        raise UsageError(f"--access-key {written.partition(':')[0]}: expected ID:SECRET")
    return access_key, secret


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
