"""Messages to people, through Apprise to a real HTTP server."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy_action.errors import InvalidInputError
from deploy_action.platform.assembly import BacktestSettings, LiveSettings
from deploy_action.platform.notifications import Notifier, Pace
from deploy_action.platform.server import PlatformServer
from tests.support.inbox import Inbox, open_inbox
from tests.support.platform_client import Clock, Platform
from tests.support.scripted_host import ScriptedHost
from tests.support.scripted_runner import ScriptedRunner
from tests.support.waiting import wait_for

FAST = Pace(burst=5, interval=120, gap=0, pauses=(0.01, 0.01, 0.01))


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with open_inbox() as opened:
        yield opened


@dataclass(slots=True)
class Sender:
    """Makes notifiers whose log and clock the test sees."""

    lines: list[str] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    made: list[Notifier] = field(default_factory=list)

    def tick(self) -> bool:
        """Let a second pass."""
        self.clock.now += 1
        return True

    def __call__(
        self, *urls: str, hidden: Callable[[], tuple[str, ...]] = tuple, pace: Pace = FAST
    ) -> Notifier:
        notifier = Notifier(
            urls, log=self.lines.append, secrets=hidden, pace=pace, monotonic=self.clock
        )
        self.made.append(notifier)
        return notifier


@pytest.fixture
def sender() -> Iterator[Sender]:
    maker = Sender()
    yield maker
    for notifier in maker.made:
        notifier.close()


def test_a_message_is_sent_to_every_target_and_logged(inbox: Inbox, sender: Sender) -> None:
    notifier = sender(f"{inbox.url}/a", f"{inbox.url}/b")
    notifier.send("Golden cross failed", "It ended with 1.\nSee its log.", "failure")
    wait_for(lambda: len(inbox.messages) == 2)
    assert inbox.messages == [("Golden cross failed", "It ended with 1.\nSee its log.")] * 2
    assert sender.lines == ["notice: Golden cross failed: It ended with 1. ⏎ See its log."]


def test_without_a_target_messages_are_in_the_log_only(sender: Sender) -> None:
    sender().send("Golden cross failed", "It ended with 1.", "failure")
    wait_for(lambda: sender.lines)
    assert sender.lines == ["notice: Golden cross failed: It ended with 1."]


def test_sending_does_not_wait_for_the_service(inbox: Inbox, sender: Sender) -> None:
    inbox.release.clear()
    notifier = sender(inbox.url)
    for number in range(100):
        notifier.send(f"title {number}", "text", "failure")
    assert inbox.messages == []
    inbox.release.set()
    wait_for(lambda: len(inbox.messages) == 100)


def test_what_fails_is_tried_again(inbox: Inbox, sender: Sender) -> None:
    inbox.failures = 2
    sender(inbox.url).send("title", "text", "failure")
    wait_for(lambda: sender.tick() and inbox.messages)
    assert inbox.messages == [("title", "text")]
    assert inbox.requests == 3
    assert "trying again in 0.01 s" in sender.lines[1]


def test_a_target_that_stays_down_is_given_up_and_the_other_gets_it_once(
    inbox: Inbox, sender: Sender
) -> None:
    password = secrets.token_hex(8)
    notifier = sender(f"json://user:{password}@127.0.0.1:1/{password}", inbox.url)
    notifier.send("title", "text", "failure")
    given_up = "is given up after 4 attempts"
    wait_for(lambda: sender.tick() and any(given_up in line for line in sender.lines))
    assert inbox.messages == [("title", "text")]
    assert any("notification target 1 (json)" in line for line in sender.lines)
    assert password not in "\n".join(sender.lines)


def test_no_secret_is_in_a_message(inbox: Inbox, sender: Sender) -> None:
    key = secrets.token_hex(16)
    sender(inbox.url, hidden=lambda: (key,)).send(
        f"Model {key}", f"key={key} {'x' * 1480}{key}", "failure"
    )
    wait_for(lambda: inbox.messages)
    title, text = inbox.messages[0]
    assert title == "Model ***"
    assert text.startswith("key=*** ")
    assert key not in "\n".join(sender.lines)
    assert key[:8] not in text


def test_texts_are_bounded_and_harmless(inbox: Inbox, sender: Sender) -> None:
    sender(inbox.url).send("a\nb\x1b[31m" + "c" * 1_000, "\u202e\x07" + "d" * 100_000, "failure")
    wait_for(lambda: inbox.messages)
    title, text = inbox.messages[0]
    assert title.startswith("a ⏎ bccc")
    assert len(title) == 150
    assert text.startswith("\\u202e\\u0007ddd")
    assert len(text) == 1_500


def test_a_flood_is_held_back_counted_and_said(inbox: Inbox, sender: Sender) -> None:
    notifier = sender(inbox.url)
    for number in range(1_000):
        notifier.send("Chatty sends a chat message", str(number), "info")
    notifier.send("Quiet failed", "It ended with 1.", "failure")
    wait_for(lambda: len(inbox.messages) == 6)
    assert [text for title, text in inbox.messages if "Chatty" in title] == [*map(str, range(5))]
    assert inbox.messages.index(("Quiet failed", "It ended with 1.")) < 6
    sender.clock.now += 121
    notifier.send("Chatty sends a chat message", "one more", "failure")
    wait_for(lambda: len(inbox.messages) == 7)
    title, text = inbox.messages[-1]
    assert title == "Chatty sends a chat message"
    assert text == (
        "996 more messages of this kind were held back: after 5 at once, one is sent every 120 s. "
        "The model's log and events have more."
    )


def test_titles_take_turns(inbox: Inbox, sender: Sender) -> None:
    inbox.release.clear()
    notifier = sender(inbox.url)
    for number in range(5):
        notifier.send("Chatty", str(number), "info")
    notifier.send("Quiet", "failed", "failure")
    inbox.release.set()
    wait_for(lambda: len(inbox.messages) == 6)
    assert ("Quiet", "failed") in inbox.messages[:3]


def test_closing_sends_what_waits(inbox: Inbox, sender: Sender) -> None:
    notifier = sender(inbox.url, pace=Pace())
    for number in range(4):
        notifier.send(f"title {number}", "text", "failure")
    notifier.close()
    assert len(inbox.messages) == 4
    notifier.send("late", "text", "failure")
    assert len(inbox.messages) == 4


@pytest.mark.parametrize("rest", ["", "nosuchservice://user:{}@host", "tgram://{}", "{}", "://{}"])
def test_a_url_that_cannot_be_used_is_refused_and_not_shown(
    rest: str, capfd: pytest.CaptureFixture[str]
) -> None:
    password = secrets.token_hex(8)
    url = rest.format(password)
    if not url:
        Notifier([url], log=print).close()
        return
    with pytest.raises(InvalidInputError) as caught:
        Notifier(["json://127.0.0.1", url], log=print)
    (problem,) = caught.value.problems
    assert "Notification URL 2" in problem.message
    assert password not in problem.text()
    assert password not in "".join(capfd.readouterr())


def test_all_wrong_urls_are_named() -> None:
    with pytest.raises(InvalidInputError) as caught:
        Notifier(["wrong1://x", "wrong2://x"], log=print)
    assert ["`wrong1://`" in each.message for each in caught.value.problems] == [True, False]


def test_a_server_tells_of_its_models_and_passes_on_what_they_say(
    inbox: Inbox, tmp_path: Path
) -> None:
    token, host = secrets.token_hex(16), ScriptedHost()
    host.may_prepare.set()
    live = LiveSettings(name="bots-1", notify=[inbox.url], make_host=lambda _store: host)
    running = BacktestSettings(runner=ScriptedRunner())
    data = tmp_path / "data"
    server = PlatformServer(data, refresh_token=token, strict=True, live=live, running=running)
    with server:
        platform = Platform(server, data, token, Clock())
        platform.sign_in()
        model_id = platform.create_model()
        platform.deploy(model_id)
        wait_for(lambda: host.running)
        (instance,) = host.running
        instance.report("message", kind="chat", text=f"Sold at 5, and the token is {token}")
        instance.report("message", kind="was replaced", text="a title of its own")
        wait_for(lambda: inbox.messages)
        assert inbox.messages == [
            (
                "bots-1: Golden cross (Personal) sends a chat message",
                "Sold at 5, and the token is ***",
            )
        ]
        instance.end(1)
        wait_for(lambda: len(inbox.messages) == 2)
        assert inbox.messages[1][0] == "bots-1: Golden cross (Personal) ended at once"
        assert inbox.kinds == ["info", "failure"]
        answer = platform.post("/model/logs", projectId=platform.user_id, modelId=model_id)
        assert "platform" in answer.text
