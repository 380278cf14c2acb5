"""Delivers a notification: as a JSON POST, to a program, or through Apprise.

A channel is built before a run begins, and refuses there what could never work: an address of an unknown kind, a
missing library, a message that would travel unencrypted. `deliver` blocks and is called in a thread. Its errors are
`DeliveryFailed`, worded without the address, which is a secret.
"""

import contextlib
import importlib
import importlib.util
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from arkbatch.core.errors import UsageError
from arkbatch.core.job_sections import Notify
from arkbatch.core.secret import Secret
from arkbatch.core.secret_variables import without_secrets
from arkbatch.core.urls import is_local
from arkbatch.monitor.notification import MASK, Notification, mask_address, remove_address

SECONDS = 6.0  # that a delivery may take
_WEB = ("http://", "https://")
_ERROR_SHOWN = 200  # characters
_HOW_TO_GET_APPRISE = (
    "needs Apprise: pip install 'arkbatch[notify]' (an https:// address takes a JSON message without it)"
)


class DeliveryFailed(Exception):
    """A message did not arrive; the text says why."""


class Channel(Protocol):
    """A place that notifications are delivered to.

    name: how the place is shown in messages
    """

    @property
    def name(self) -> str: ...

    def deliver(self, notice: Notification) -> None:
        """Deliver a message; blocks for a few seconds at most, unless a name look-up hangs.

        Raises DeliveryFailed.
        """


def with_addresses(notify: Notify, urls: Sequence[str], folder: Path | None) -> Notify:
    """Return the section with these addresses, if any, and its program's path resolved."""
    command = notify.command
    if command and folder and os.path.dirname(command[0]):  # noqa: PTH120 - "./tell" is a path, "tell" is looked for
        command = [str(folder / command[0]), *command[1:]]
    return Notify([Secret(url) for url in urls] or notify.urls, command, notify.on, notify.outage_after)


def build_channels(notify: Notify, *, insecure: bool, said_by: str = "--notify") -> list[Channel]:
    """Build the channels that the job names.

    said_by: the flag or key that named the addresses
    Raises UsageError, without the address, for one that could never work.
    """
    found = [_channel_of_url(url.reveal(), said_by, insecure=insecure) for url in notify.urls]
    return [*found, CommandChannel(notify.command)] if notify.command else found


def _channel_of_url(url: str, said_by: str, *, insecure: bool) -> Channel:
    """Build the channel for a URL; a service that Apprise knows gets that service's format."""
    name = mask_address(url)
    if url.endswith(MASK):
        raise UsageError(f"{said_by} {url} is masked, as it is wherever a command is shown: give the address again")
    if "://" not in url:
        raise UsageError(
            f"{said_by} {name} is not an address: it begins with https://, or names a service as in feishu://"
        )
    web, known = url.lower().startswith(_WEB), importlib.util.find_spec("apprise") is not None
    if not (web or known):
        raise UsageError(f"{said_by} {name} {_HOW_TO_GET_APPRISE}")
    service = _apprise_service(url) if known else None
    if service is None and not web:
        raise UsageError(f"{said_by} {name} is not an address that Apprise knows: see its list of services")
    if not insecure and (_is_open(url) if service is None else _sends_openly(service, url)):
        raise UsageError(
            f"{said_by} {name} would carry messages unencrypted: choose its secure form, or say --insecure"
        )
    return Webhook(url) if service is None else AppriseChannel(service, url)


def _is_open(url: str) -> bool:
    return url.lower().startswith("http://") and not is_local(url)


def _sends_openly(service: Any, url: str) -> bool:
    """Whether a service is the unencrypted one of two, such as json:// and jsons://."""
    scheme = url.partition("://")[0].lower()
    both = service.protocol and service.secure_protocol
    plain = (service.protocol,) if isinstance(service.protocol, str) else service.protocol or ()
    return bool(both and scheme in plain and not service.secure and not is_local(f"http://{service.host}"))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: the message, and the token in the address, are for one host."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Webhook:
    """A channel that posts the message as JSON."""

    def __init__(self, url: str) -> None:
        self.name = mask_address(url)
        self._url = url

    def deliver(self, notice: Notification) -> None:
        body = json.dumps(notice.to_builtins(), ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "arkbatch"}
        try:
            asked = urllib.request.Request(self._url, body, headers)  # noqa: S310 - only http and https come here
            with urllib.request.build_opener(_NoRedirect).open(asked, timeout=SECONDS) as answer:
                answer.read(1)
        except urllib.error.HTTPError as error:
            error.close()
            raise DeliveryFailed(f"it answered {error.code}") from None
        except TimeoutError:
            raise DeliveryFailed(_TOO_SLOW) from None
        except (OSError, ValueError) as error:  # ValueError: an address with a control character in it
            raise DeliveryFailed(_web_error(error, self._url)) from None


def _web_error(error: Exception, url: str) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return _TOO_SLOW
    said = getattr(reason, "strerror", None) or (str(reason) if isinstance(error, OSError) else "")
    return remove_address(f"{type(reason).__name__}{f': {said}' if said else ''}", url)


class CommandChannel:
    """A channel that runs a program with the message on its standard input."""

    def __init__(self, command: Sequence[str]) -> None:
        if shutil.which(command[0]) is None:
            raise UsageError(f"the program that is to be notified cannot be run: {command[0]} is not there")
        self.name = command[0]
        self._command = list(command)

    def deliver(self, notice: Notification) -> None:
        """Run the program.

        Its output goes to files and not to pipes: a child process that it leaves behind would keep a pipe open.
        """
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
            given.write(json.dumps(notice.to_builtins(), ensure_ascii=False).encode() + b"\n")
            given.seek(0)
            try:
                process = subprocess.Popen(  # noqa: S603 - the user's own command
                    self._command,
                    stdin=given,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    start_new_session=True,
                    env=without_secrets(os.environ),
                )
            except OSError as error:
                raise DeliveryFailed(f"it cannot be run: {error.strerror}") from None
            try:
                code = process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                _kill_process_group(process)
                raise DeliveryFailed(f"it did not end within {SECONDS:.0f} s and was killed") from None
            if code:
                said.seek(0)
                last = said.read()[-_ERROR_SHOWN:].decode("utf-8", "replace").strip().rpartition("\n")[2]
                raise DeliveryFailed(f"it ended with {code}{f': {last}' if last else ''}")


def _kill_process_group(process: "subprocess.Popen[bytes]") -> None:
    if sys.platform == "win32":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class AppriseChannel:
    """A channel for a service that Apprise knows."""

    def __init__(self, service: Any, url: str) -> None:
        self.name = mask_address(url)
        self._service = service
        self._url = url

    def deliver(self, notice: Notification) -> None:
        apprise: Any = importlib.import_module("apprise")
        with apprise.LogCapture(level=logging.WARNING, fmt="%(message)s") as log:
            arrived = self._service.notify(title=notice.title, body=notice.text)
            said = log.getvalue().strip().rpartition("\n")[2] if log is not None else ""
        if not arrived:
            shown = remove_address(said, self._url)[:_ERROR_SHOWN].rstrip(". ")
            raise DeliveryFailed(f"Apprise says: {shown}" if shown else "Apprise could not deliver it")


def _apprise_service(url: str) -> Any:
    """Return Apprise's service for a URL, or None.

    Apprise's log is kept from the terminal, since it prints addresses.
    """
    logging.getLogger("apprise").addHandler(logging.NullHandler())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about what its hundred services import
        apprise: Any = importlib.import_module("apprise")
        asset = apprise.AppriseAsset(app_id="arkbatch", app_desc="arkbatch", async_mode=False)
        return apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)


_TOO_SLOW = f"no answer within {SECONDS:.0f} s"
