"""Messages against real servers and programs of this machine: what arrives, and what is said when it does not."""

import asyncio
import importlib.util
import json
import sys
import threading
import time

import pytest
from receivers import receiver
from servers import closed_port

from arkbatch.core.errors import UsageError
from arkbatch.core.job_sections import Notify
from arkbatch.core.secret import Secret
from arkbatch.monitor import notify_channels as module
from arkbatch.monitor.notification import Notification, NotificationEvent
from arkbatch.monitor.notify import NotificationSender
from arkbatch.monitor.notify_channels import DeliveryFailed, build_channels

NOTICE = Notification(NotificationEvent.END, "finished", "/data/a.run", "box", "2026-11-21T08:00:00+00:00", done=3)


def of(*urls, command=(), insecure=False):
    return build_channels(Notify([Secret(url) for url in urls], list(command)), insecure=insecure)


def refused(*urls, **how):
    with pytest.raises(UsageError) as caught:
        of(*urls, **how)
    assert "T0K3N" not in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def undelivered(*urls, **how):
    [messenger] = of(*urls, **how)
    with pytest.raises(DeliveryFailed) as caught:
        messenger.deliver(NOTICE)
    assert "T0K3N" not in f"{messenger.name} {caught.value} {caught.value.__cause__}"
    return str(caught.value)


def test_a_webhook_is_sent_the_message_as_json():
    with receiver() as hook:
        of(hook.url)[0].deliver(NOTICE)
    assert hook.heard == [("/hook/T0K3N-of-the-test", json.loads(json.dumps(NOTICE.to_builtins())))]


def test_apprise_brings_the_message_in_the_form_of_the_service():
    with receiver() as hook:
        of(hook.url.replace("http://", "json://"))[0].deliver(NOTICE)
    [(path, body)] = hook.heard
    assert path == "/hook/T0K3N-of-the-test"
    assert (body["title"], body["message"]) == (NOTICE.title, NOTICE.text)


@pytest.mark.parametrize("scheme", ["http://", "json://"])
def test_a_server_that_refuses_is_told_by_its_status(scheme):
    with receiver(status=500) as hook:
        assert "500" in undelivered(hook.url.replace("http://", scheme))


@pytest.mark.parametrize("scheme", ["http://", "json://"])
def test_a_server_that_is_not_there_is_said_to_be(scheme):
    assert "onnection" in undelivered(f"{scheme}127.0.0.1:{closed_port()}/T0K3N")


def test_the_token_does_not_follow_a_redirect():
    with receiver() as other, receiver(status=307, headers=[("Location", other.url)]) as hook:
        assert undelivered(hook.url) == "it answered 307"
    assert not other.heard


def test_a_webhook_that_does_not_answer_is_given_up(monkeypatch):
    monkeypatch.setattr(module, "SECONDS", 0.1)
    with receiver(release=threading.Event()) as hook:
        assert undelivered(hook.url).startswith("no answer within")


def test_a_program_is_given_the_message_on_standard_input_and_no_shell(tmp_path):
    code = "import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())"
    of(command=[sys.executable, "-c", code, str(tmp_path / "$(id)")])[0].deliver(NOTICE)
    assert json.loads((tmp_path / "$(id)").read_bytes())["title"] == "arkbatch: finished (a.run)"


def test_a_program_is_given_the_environment_without_the_keys(monkeypatch, tmp_path):
    names = [
        "ARK_API_KEY",
        "OPENAI_API_KEY",
        "VOLC_ACCESSKEY",
        "VOLC_SECRETKEY",
        "VOLC_SESSION_TOKEN",
        "ARKBATCH_NOTIFY",
    ]
    for name in [*names, "OF_MINE"]:
        monkeypatch.setenv(name, "T0K3N")
    code = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], 'w'))"
    of(command=[sys.executable, "-c", code, str(tmp_path / "seen")])[0].deliver(NOTICE)
    seen = json.loads((tmp_path / "seen").read_bytes())
    assert seen["OF_MINE"] == "T0K3N"
    assert not seen.keys() & {*names}


def test_a_program_that_fails_is_told_by_its_last_words():
    code = "import sys; print('one', file=sys.stderr); sys.exit('no network')"
    assert undelivered(command=[sys.executable, "-c", code]) == "it ended with 1: no network"


def test_a_program_that_hangs_is_killed_with_its_children(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "SECONDS", 0.5)
    script = f"(sleep 5; touch {tmp_path}/late) & sleep 5"
    began = time.monotonic()
    assert "was killed" in undelivered(command=["sh", "-c", script])
    assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("T0K3N", "is not an address: it begins with https://"),
        ("nothing://T0K3N", "nothing://*** is not an address that Apprise knows"),
        ("http://other.example/T0K3N", "http://other.example/*** would carry messages unencrypted"),
        ("json://other.example/T0K3N", "json://*** would carry messages unencrypted"),
        ("https://other.example/***", "is masked"),
    ],
)
def test_an_address_that_can_never_work_is_refused_before_the_run(url, said):
    assert said in refused(url)


@pytest.mark.parametrize("url", ["http://other.example/x", "json://other.example/x"])
def test_in_clear_is_possible_for_who_means_it(url):
    assert of(url, insecure=True)


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/x",
        "http://127.0.0.1:9/x",
        "jsons://other.example",
        "feishu://abcdefghijkl",
        "json://localhost/",
    ],
)
def test_encrypted_addresses_and_this_machine_need_no_word(url):
    assert of(url)


def test_without_apprise_its_services_are_refused_and_webhooks_work(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'arkbatch[notify]'" in refused("feishu://T0K3N")
    assert of("https://other.example/T0K3N")


def test_a_program_that_is_not_there_is_refused_before_the_run():
    assert "no-such-program is not there" in refused(command=["no-such-program"])


def notified(messengers, *, patience=9.0, meanwhile=None):
    """What the notifier said had failed, and the seconds that it held its caller up."""

    async def main():
        failed = []
        notifier = NotificationSender(messengers, failed.append, patience=patience)
        notifier.send(NOTICE)
        began = asyncio.get_running_loop().time()
        await notifier.wait_for_deliveries()
        return failed, asyncio.get_running_loop().time() - began

    return asyncio.run(main())


def test_one_place_that_fails_does_not_keep_the_others_from_hearing():
    with receiver() as hook, receiver(status=404) as gone:
        failed, _ = notified(of(gone.url, hook.url))
    assert failed == ["could not notify http://127.0.0.1/***: it answered 404"]
    assert hook.events == ["end"]


def test_who_hangs_for_ever_holds_up_nobody_for_longer_than_a_delivery_may_take():
    class Hangs:
        name = "hangs"

        def deliver(self, notice):
            over.wait(20)

    over = threading.Event()
    failed, seconds = notified([Hangs()], patience=0.1)
    over.set()
    assert failed == ["could not notify hangs: no answer within 0 s"]
    assert seconds < 2


def test_an_error_that_nobody_foresaw_is_a_line_like_the_others():
    class Breaks:
        name = "breaks"

        def deliver(self, notice):
            raise KeyError("T0K3N")

    assert notified([Breaks()])[0] == ["could not notify breaks: KeyError"]
