"""What a message says, how often, and that no address is shown with its secret."""

from decimal import Decimal

import pytest

from arkbatch.monitor.notification import (
    Notification,
    NotificationEvent,
    OutageAlarm,
    mask_address,
    mask_command_line,
    remove_address,
)
from arkbatch.pricing.amounts import Money


def notice(**changes):
    given = {
        "event": NotificationEvent.END,
        "said": "finished",
        "run_dir": "/data/prompts.run",
        "host": "box",
        "at": "now",
    }
    return Notification(**given | changes)


def test_a_message_says_what_happened_how_far_what_it_cost_where_and_how_to_go_on():
    cost = Money({"CNY": Decimal("12.4")})
    said = notice(done=998, failed=2, seconds=11_520.0, cost=cost, go_on="arkbatch retry /data/prompts.run")
    assert said.title == "arkbatch: finished (prompts.run)"
    assert said.text.splitlines() == [
        "Rows: 998 done, 2 failed, 0 left, after 3 h 12 min",
        "Cost: 12.40 CNY",
        "Where: box, /data/prompts.run",
        "Next command: arkbatch retry /data/prompts.run",
    ]
    assert said.to_builtins()["cost"]["amounts"] == {"CNY": "12.4"}


@pytest.mark.parametrize(
    ("event", "label"),
    [
        (NotificationEvent.STOP, "Resume with"),
        (NotificationEvent.HALT, "Resume with"),
        (NotificationEvent.OUTAGE, "Next command"),
    ],
)
def test_only_a_session_that_has_ended_with_rows_left_is_resumed(event, label):
    assert notice(event=event, left=5, go_on="arkbatch x").text.endswith(f"\n{label}: arkbatch x")


def test_a_simulated_run_says_so():
    said = notice(simulated=True, cost=Money({"CNY": Decimal(1)}))
    assert said.title.startswith("[simulated] ")
    assert "had it been real" in said.text


def test_words_of_a_service_are_cut_and_cannot_drive_a_terminal():
    said = notice(reason="\x1b]0;owned\x07" + "x" * 10_000)
    assert "\x1b" not in said.text
    assert len(said.text) < 700


def test_a_long_outage_is_told_once_and_its_end_once():
    outages = OutageAlarm(600)
    assert [outages.check_outage(lasts) for lasts in (0, 30, 0, 599)] == [""] * 4
    assert outages.check_outage(601) == "the service has been away for 10 min 01 s"
    assert outages.check_outage(1000) == ""
    assert outages.check_outage(0) == "the service is back after 16 min 40 s"
    assert outages.check_outage(0) == outages.check_outage(20) == ""
    assert outages.check_outage(700).startswith("the service has been away")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.com/services/T0K3N?key=T0K3N", "https://hooks.example.com/***"),
        ("https://user:T0K3N@example.com:8443/T0K3N", "https://example.com/***"),
        ("feishu://T0K3N", "feishu://***"),
        ("mailto://user:T0K3N@example.com", "mailto://***"),
        ("T0K3N", "***"),
        ("T0K3N@://x", "***"),
        ("http://[T0K3N", "http://***"),
    ],
)
def test_an_address_is_shown_without_what_is_secret_in_it(url, shown):
    assert mask_address(url) == shown


def test_words_of_others_lose_each_piece_of_the_address():
    said = "POST to example.com/T0K3N/abcde?sign=S1GNED failed: T0K3N is unknown"
    assert remove_address(said, "https://example.com/T0K3N/abcde?sign=S1GNED") == (
        "POST to example.com/***/***?***=*** failed: *** is unknown"
    )


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["run", "a", "--notify", "https://h/T0K3N", "--rpm", "6"], ["run", "a", "--notify", "***", "--rpm", "6"]),
        (["run", "a", "--notify=https://h/T0K3N"], ["run", "a", "--notify=***"]),
        (["--notify", "x://T0K3N", "--notify", "y://T0K3N"], ["--notify", "***", "--notify", "***"]),
        (["--notify-command", "curl -d @- https://h/T0K3N"], ["--notify-command", "***"]),
        (["--notify-command", "./tell"], ["--notify-command", "./tell"]),
        (["--notify-on", "end", "--notify"], ["--notify-on", "end", "--notify"]),
    ],
)
def test_a_command_line_is_kept_without_addresses(words, shown):
    assert mask_command_line(words) == shown
