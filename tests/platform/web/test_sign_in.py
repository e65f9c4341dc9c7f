from __future__ import annotations

import pytest

from tests.support.scripted_live_server import LivePlatform
from tests.support.visitor import Visitor, text_of


@pytest.fixture
def visitor(live: LivePlatform) -> Visitor:
    return Visitor(live.parts.url)


def test_a_page_leads_to_the_sign_in_and_back(live: LivePlatform, visitor: Visitor) -> None:
    away = visitor.get("/?a=b")

    assert away.status_code == 303
    assert away.headers["location"] == "/login?next=%2F%3Fa%3Db"
    assert "Refresh token" in text_of(visitor.get(away.headers["location"]).text)
    back = visitor.post("/login", token=live.refresh_token, next="/?a=b")
    assert (back.status_code, back.headers["location"]) == (303, "/?a=b")
    assert visitor.get("/?a=b").status_code == 200


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "",
     "/\t/evil.example", "https:evil.example", "\\\\evil.example", "/\u4e2d"],
)  # fmt: skip
def test_the_sign_in_leads_nowhere_else(target: str, live: LivePlatform, visitor: Visitor) -> None:
    answer = visitor.post("/login", token=live.refresh_token, next=target)

    assert answer.headers["location"] == "/"


def test_who_guesses_soon_has_to_wait_and_who_knows_does_not(
    live: LivePlatform, visitor: Visitor
) -> None:
    answers = [visitor.sign_in(f"x{number}") for number in range(11)]

    assert [each.status_code for each in answers] == [401] * 10 + [429]
    assert "Wait" in text_of(answers[-1].text)
    assert not visitor.session.cookies
    assert visitor.sign_in(live.refresh_token).status_code == 303


def test_the_cookie_is_kept_from_scripts_and_other_sites(
    live: LivePlatform, visitor: Visitor
) -> None:
    plain = visitor.sign_in(live.refresh_token).headers["set-cookie"]
    behind_tls = visitor.session.post(
        f"{visitor.url}/login",
        data={"token": live.refresh_token},
        headers={"X-Forwarded-Proto": "https"},
        allow_redirects=False,
        timeout=30,
    ).headers["set-cookie"]

    assert plain.startswith("session=")
    assert behind_tls.startswith("__Host-session=")
    assert "Secure" in behind_tls
    assert "Secure" not in plain
    for cookie in (plain, behind_tls):
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert "Path=/" in cookie
        assert "Domain" not in cookie


def test_signing_out_makes_the_cookie_useless(live: LivePlatform, visitor: Visitor) -> None:
    visitor.sign_in(live.refresh_token)
    cookie = visitor.session.cookies["session"]

    assert visitor.send_form("/", "/logout").headers["location"] == "/login"

    assert "session" not in visitor.session.cookies
    visitor.session.cookies.set("session", cookie)
    assert visitor.get("/").status_code == 303


def test_a_form_of_another_site_changes_nothing(live: LivePlatform, visitor: Visitor) -> None:
    visitor.sign_in(live.refresh_token)

    assert visitor.post("/logout").status_code == 403
    assert visitor.post("/logout", csrf="x" * 64).status_code == 403
    assert visitor.get("/").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://other.example.com"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        # A proxy may send another host than the one that the browser asked for.
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://bots.example.com"}, 303),
        ({}, 303),
    ],
)
def test_nobody_is_signed_in_by_a_form_of_another_site(
    headers: dict[str, str], status: int, live: LivePlatform, visitor: Visitor
) -> None:
    answer = visitor.session.post(
        f"{visitor.url}/login",
        data={"token": live.refresh_token},
        headers=headers,
        allow_redirects=False,
        timeout=30,
    )

    assert answer.status_code == status


def test_cookies_of_other_programs_on_this_host_do_no_harm(
    live: LivePlatform, visitor: Visitor
) -> None:
    visitor.sign_in(live.refresh_token)
    mine = visitor.session.cookies["session"]
    visitor.session.cookies.clear()

    answer = visitor.get("/", Cookie=f'a{{"b": 1}}; x=[1,"2"]; session={mine}; ü=ä'.encode())

    assert answer.status_code == 200


def test_pages_may_not_be_framed_and_run_no_scripts_of_others(
    live: LivePlatform, visitor: Visitor
) -> None:
    visitor.sign_in(live.refresh_token)

    for path in ("/", "/login", "/static/style.css"):
        headers = visitor.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"


def test_what_was_signed_for_another_purpose_is_no_session(
    live: LivePlatform, visitor: Visitor
) -> None:
    visitor.session.cookies.set("session", live.id_token)

    assert visitor.get("/").status_code == 303


def test_the_api_is_what_it_was(visitor: Visitor) -> None:
    assert visitor.get("/healthz").json() == {"status": "ok"}
    assert visitor.get("/PROJECT/list/").status_code == 401
    assert visitor.get("/no/such/route/at/all").status_code == 404


def test_who_is_signed_out_meanwhile_is_told_that_nothing_was_done(
    live: LivePlatform, visitor: Visitor
) -> None:
    page = f"/{live.user_id}/some-model/overview"
    referer = {"Referer": f"{visitor.url}{page}"}
    answer = visitor.session.post(
        f"{visitor.url}/{live.user_id}/some-model/stop",
        headers=referer,
        allow_redirects=False,
        timeout=30,
    )
    form = visitor.get(answer.headers["location"]).text

    assert "Nothing was done: you are not signed in any more." in text_of(form)
    assert f'name="next" value="{page}"' in form


@pytest.mark.parametrize("target", ["//[", "/\\[", "http://[", "/" + "x" * 3_000])
def test_nonsense_of_strangers_is_no_error_of_the_server(
    target: str, live: LivePlatform, visitor: Visitor
) -> None:
    assert (
        visitor.session.get(f"{visitor.url}/login", params={"next": target}, timeout=30).status_code
        == 200
    )
    answer = visitor.session.post(
        f"{visitor.url}/login", headers={"Origin": target[:20]}, data={"token": "x"}, timeout=30
    )
    assert answer.status_code == 403
    assert live.errors == []


def test_who_signed_in_meanwhile_in_another_tab_can_sign_in_again(
    live: LivePlatform, visitor: Visitor
) -> None:
    for _ in range(2):
        assert visitor.sign_in(live.refresh_token).status_code == 303
