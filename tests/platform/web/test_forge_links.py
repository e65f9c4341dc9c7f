"""Links to forges, from what clients say."""

from __future__ import annotations

import pytest

from deploy_action.platform.web.forge_links import commit_of, repository_of, run_link

SHA = "81b7a04d3c6e1f0a9b8c7d6e5f4a3b2c1d5f2c9e"


@pytest.mark.parametrize(
    ("repository", "page"),
    [
        ("https://github.com/trader/models", "https://github.com/trader/models/commit/"),
        ("https://github.com/trader/models.git", "https://github.com/trader/models/commit/"),
        ("https://github.com/trader/models/", "https://github.com/trader/models/commit/"),
        ("git@github.com:trader/models.git", "https://github.com/trader/models/commit/"),
        ("ssh://git@forge.example:22/a/b", "https://forge.example/a/b/commit/"),
        ("http://gitea.local:3000/a/b", "http://gitea.local:3000/a/b/commit/"),
        ("https://codeberg.org/a/b.c-d_e", "https://codeberg.org/a/b.c-d_e/commit/"),
        ("https://gitlab.com/g/sub/name", "https://gitlab.com/g/sub/name/-/commit/"),
        ("git@gitlab.firm.example:g/name.git", "https://gitlab.firm.example/g/name/-/commit/"),
        ("https://git.firm.example/gitlab/a", "https://git.firm.example/gitlab/a/commit/"),
    ],
)
def test_a_commit_is_linked_to_its_forge(repository: str, page: str) -> None:
    commit = commit_of(SHA, repository)
    assert commit is not None
    assert (commit.short, commit.whole, commit.url) == (SHA[:7], SHA, f"{page}{SHA}")


@pytest.mark.parametrize(
    "repository",
    ["", "models", "javascript:alert(1)//a/b", "data:text/html,<b>/a/b", "ftp://forge.example/a/b",
     "https://user:pass@forge.example/a/b", "https://forge.example", "https://forge.example/a",
     "https://forge.example/a/b?c", "https://forge.example/a/b#c", "https://forge.example/../b",
     "https://forge.example/a/..", "https://forge.example//evil.example/a", "//forge.example/a/b",
     "https://forge.example\\@evil.example/a/b", "https://forge.example/a/b\nc", "https://[::1]/a/b",
     "https://f\u043erge.example/a/b", "https://forge.example/a/b\u202e", "file:///etc/passwd/a",
     "https://forge.example:99999999/a/b", "https:/forge.example/a/b", "https://.example/a/b",
     "https://forge.example/a/%2e%2e/b", "git@evil example:a/b", f"https://x.example/{'a/' * 50}b"],
)  # fmt: skip
def test_anything_else_is_no_link(repository: str) -> None:
    assert repository_of(repository) is None
    commit = commit_of(SHA, repository)
    assert commit is not None
    assert (commit.url, commit.where) == (None, repository)


@pytest.mark.parametrize(
    "commit", ["../../x", "HEAD", "abc", "81b7a04?x", "javascript:x", "g" * 40]
)
def test_what_is_no_commit_is_no_link(commit: str) -> None:
    found = commit_of(commit, "https://github.com/a/b")
    assert found is not None
    assert (found.short, found.url) == (commit, None)


def test_no_commit_is_none() -> None:
    assert commit_of("", "https://github.com/a/b") is None


@pytest.mark.parametrize(
    ("url", "is_linked"),
    [
        ("https://github.com/a/b/actions/runs/17", True),
        ("https://github.com/a/b/actions/runs/17/attempts/2", True),
        ("https://github.com/a/bc/actions/runs/17", False),
        ("https://github.com/a/b", False),
        ("https://github.com/a/b/../../evil/c", False),
        ("https://github.com/a/b/x?y", False),
        ("http://github.com/a/b/actions/runs/17", False),
        ("https://evil.example/a/b/actions/runs/17", False),
        ("javascript:alert(1)", False),
        ("/a/page/of/ours", False),
        ("", False),
    ],
)
def test_a_run_is_linked_within_its_repository(url: str, *, is_linked: bool) -> None:
    assert run_link(url, "https://github.com/a/b.git") == (url if is_linked else None)
    assert run_link(url, "") is None
