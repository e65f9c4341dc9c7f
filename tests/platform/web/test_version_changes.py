"""The page on which two versions are compared."""

from __future__ import annotations

import re
from html import unescape

from deploy_action.platform.storage.records import State
from tests.support.platform_client import make_bundle
from tests.support.scripted_live_server import LivePlatform
from tests.support.visitor import Visitor, text_of


def _compare(live: LivePlatform, model_id: str, before: str = "", after: str = "") -> str:
    query = f"?a={before}&b={after}" if before or after else ""
    return f"/{live.user_id}/{model_id}/versions/compare{query}"


def test_settings_variables_and_files_are_compared(live: LivePlatform, reader: Visitor) -> None:
    model_id = live.create_model()
    old = make_bundle(**{"bot.py": "STOP = 0.05\nSIZE = 1\n", "gone.py": "x", "same.py": "s"})
    new = make_bundle(**{"bot.py": "STOP = 0.08\nSIZE = 1\n", "new.py": "xyz", "same.py": "s"})
    live.run_a_version(model_id, old, environment='{"KEY": "value-one", "A": "1", "S": "s"}')
    live.run_a_version(
        model_id, new, plan="small", environment='{"KEY": "value-two", "B": "1", "S": "s"}'
    )

    page = reader.get(_compare(live, model_id)).text
    shown = text_of(page)

    assert "Plan nano small" in shown
    assert "Variables that are new: B ." in shown
    assert "Variables that are gone: A ." in shown
    assert "Variables with another value: KEY ." in shown
    assert "value-" not in page
    assert "1 file changed, 1 added, 1 removed, 2 files the same to the byte." in shown
    assert "1 file added new.py 3 bytes" in shown
    assert "1 file removed gone.py 1 byte" in shown
    assert "- STOP = 0.05 + STOP = 0.08 SIZE = 1" in shown


def test_the_current_version_is_compared_with_the_one_that_ran_before(
    live: LivePlatform, reader: Visitor
) -> None:
    """Not with one that was uploaded between them, and never ran."""
    model_id = live.create_model()
    first = live.run_a_version(model_id)
    live.parts.host.may_prepare.clear()
    live.deploy(model_id)
    live.parts.host.may_prepare.set()
    third = live.run_a_version(model_id)
    live.wait_for_state(model_id, State.RUNNING)

    page = reader.get(_compare(live, model_id)).text

    sides = re.findall(rf'href="/{live.user_id}/{model_id}/versions/([0-9a-f-]+)"', page)
    history = [each for each in sides if each != third]
    assert third in sides
    assert first in history


def test_the_way_back_is_said_to_be_one(live: LivePlatform, reader: Visitor) -> None:
    model_id = live.create_model()
    first = live.run_a_version(model_id)
    live.parts.clock.now += 60
    second = live.run_a_version(model_id)

    forth = reader.get(_compare(live, model_id, first, second)).text
    back = reader.get(_compare(live, model_id, second, first)).text

    assert "The second one was uploaded first" not in forth
    assert "The second one was uploaded first" in back
    assert f"compare?a={second}&amp;b={first}" in forth


def test_the_same_bytes_have_no_changes(live: LivePlatform, reader: Visitor) -> None:
    model_id, bundle = live.create_model(), make_bundle()
    live.run_a_version(model_id, bundle)
    live.run_a_version(model_id, bundle)

    shown = text_of(reader.get(_compare(live, model_id)).text)

    assert "The same plan, Python and schedule, and the same variables." in shown
    assert "The same bundle, to the byte." in shown


def test_no_secret_is_shown(live: LivePlatform, reader: Visitor) -> None:
    """Of `keys.json` nothing; of others, no line that repeats a key or a variable's value."""
    model_id = live.create_model()
    keys = '{"alpaca": {"mine": {"API_KEY": "%s", "API_SECRET": "%s"}}}'
    alpaca = "PKAB12CD34EF56GH78IJ"
    for n, key in enumerate((alpaca, alpaca[::-1])):
        bundle = make_bundle(
            **{
                "keys.json": keys % (key, f"sEcReTkEy0123456789{n}"),
                "bot.py": f"# sEcReTkEy0123456789{n}\nURL = 'x-token-of-mine-{n}'\n"
                f"password = 'hunter{n}'\n",
                "settings.json": f'{{\n"password": "swordfish{n}",\n"size": {n}\n}}',
                ".env.production": f"A=topsecret{n}",
                "id.pem": f"-----BEGIN PRIVATE KEY-----\nMIIabc{n}",
            }
        )
        live.run_a_version(model_id, bundle, environment=f'{{"T": "x-token-of-mine-{n}"}}')

    page = reader.get(_compare(live, model_id)).text

    for secret in ("sEcReTkEy", "x-token-of", "hunter", "swordfish", "topsecret", "MIIabc", alpaca):
        assert secret not in page
    assert "8 lines in which a key or a password may be are shown as" in text_of(page)
    assert '- *** - "size": 0 + *** + "size": 1' in unescape(text_of(page))
    assert text_of(page).count("It may hold secrets, so no line is shown.") == 3


def test_what_files_are_called_and_hold_stays_text(live: LivePlatform, reader: Visitor) -> None:
    model_id = live.create_model()
    for n in (1, 2):
        hostile = f"</span></pre><script>alert({n})</script>\u202e\x1b[31m{n}"
        live.run_a_version(model_id, make_bundle(**{"<script>x.py": hostile, "b": hostile}))

    page = reader.get(_compare(live, model_id)).text

    assert "<script>alert" not in page
    assert "<script>x" not in page
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;x.py" in page
