"""`arkbatch notify`: sends a trial message to each address."""

import asyncio
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arkbatch.cli.options import notification_addresses

if TYPE_CHECKING:
    from arkbatch.monitor.notify_channels import Channel


@click.command(short_help="Send a trial message to where a run would tell how it ends.")
@click.argument("job", metavar="[JOB.toml]", required=False)
@notification_addresses
@click.option("--insecure", is_flag=True, default=None, help="Allow http:// to another machine.")
@click.option("--json", "as_json", is_flag=True, help="Print what came of it as one JSON line.")
def command(job: str | None, *, as_json: bool, **flags: Any) -> int:
    """Send a trial message to each address that a run would tell how it ends, and say whether it arrived.

    An https address is sent the message as JSON. With arkbatch[notify] installed, Apprise sends it to a hundred
    services in their own form: feishu://TOKEN, dingtalk://TOKEN, wecombot://KEY, slack://..., mailtos://... Others see
    a command line while it runs, so that ARKBATCH_NOTIFY, in the environment or in .env, is a better place for an
    address: several may stand there with spaces between.

    The exit code is 0 when every message was taken, and 2 when one was not.

    \b
    Examples:
      arkbatch notify --notify https://hooks.example.com/T0K3N
      arkbatch notify --notify-command ./tell-me.sh
      arkbatch notify job.toml
    """
    import orjson

    from arkbatch.config.resolve import resolve_notify
    from arkbatch.core.errors import ExitCode, UsageError
    from arkbatch.core.text import printable_json, printable_text
    from arkbatch.monitor.notify_channels import build_channels

    notify = resolve_notify(job, flags, os.environ, Path.cwd())
    if not notify:
        raise UsageError("there is no address to notify: give --notify URL or --notify-command, or set ARKBATCH_NOTIFY")
    asked = build_channels(notify, insecure=True)
    failed = asyncio.run(_send_trial(asked))
    if as_json:
        click.echo(printable_json(orjson.dumps({"asked": [each.name for each in asked], "failed": failed})))
    else:
        lines = failed or [f"The message was taken by {', '.join(each.name for each in asked)}."]
        click.echo(printable_text("\n".join(line[:1].upper() + line[1:] for line in lines)))
    return ExitCode.USAGE if failed else ExitCode.OK


async def _send_trial(messengers: "list[Channel]") -> list[str]:
    from arkbatch.monitor.notification import Notification, NotificationEvent
    from arkbatch.monitor.notify import NotificationSender

    failed: list[str] = []
    notifier = NotificationSender(messengers, failed.append)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    notifier.send(
        Notification(NotificationEvent.TRIAL, "a trial message, as a run would send it", "", platform.node(), at)
    )
    await notifier.wait_for_deliveries()
    return failed
