"""Variables in the text of requirements: filled in from `model-env` alone, and shown nowhere."""

from __future__ import annotations

import base64
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from deploy_action.errors import Problem
from deploy_action.platform.environments import EnvironmentFailedError
from tests.support.local_server import Listener, LocalHandler, LocalServer
from tests.support.package_index import PackageIndex, Tenant, installed, new_secret

OWN = ".".join(map(str, sys.version_info[:2]))


class _Files(LocalHandler):
    server: Listener[PrivateIndex]

    def do_HEAD(self) -> None:  # noqa: N802  # its name in http.server
        self.answer()

    def answer(self) -> None:
        """Answer those who have the token: as a password, in the path, or in the query."""
        owner = self.server.owner
        owner.asked.append(self.path)
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        path, _, query = self.path.partition("?")
        known = (base64.b64decode(given).decode(), *path.split("/"), query)
        if not any(owner.token in one for one in known):
            self.send(401, b"", {"WWW-Authenticate": "Basic"})
            return
        wheel = owner.wheels / path.rpartition("/")[2]
        if wheel.is_file():
            body = wheel.read_bytes()
        else:
            name = path.rstrip("/").rpartition("/")[2]
            links = [f'<a href="../../files/{w.name}">{w.name}</a>' for w in owner.found(name)]
            body = "".join(links).encode()
        self.send(
            200 if body else 404,
            b"" if self.command == "HEAD" else body,
            {"Content-Type": "text/html", "Content-Length": str(len(body))},
        )


class PrivateIndex(LocalServer):
    """An index of packages that asks for a token."""

    handler: ClassVar[type[LocalHandler]] = _Files

    def __init__(self, wheels: Path) -> None:
        self.wheels, self.token = wheels, new_secret()
        self.asked: list[str] = []

    @property
    def host(self) -> str:
        return self.origin.removeprefix("http://")

    def found(self, name: str) -> list[Path]:
        return sorted(self.wheels.glob(f"{name}-*.whl")) if name else []


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> PackageIndex:
    found = PackageIndex(tmp_path_factory.mktemp("index") / "packages")
    private = found.root / "private"
    private.mkdir()
    for version in ("1.0", "2.0"):
        found.add("spruce", version).rename(private / f"spruce-{version}-py3-none-any.whl")
    return found


@pytest.fixture
def server(index: PackageIndex) -> Iterator[PrivateIndex]:
    with PrivateIndex(index.root / "private") as started:
        yield started


@pytest.fixture
def tenant(tmp_path: Path, index: PackageIndex, server: PrivateIndex) -> Tenant:
    environ = {**index.environ, "UV_HTTP_RETRIES": "0", "UV_CACHE_DIR": str(tmp_path / "cache")}
    return Tenant(tmp_path, environ, OWN, variables={"TOKEN": server.token})


def refused(tenant: Tenant) -> Problem:
    with pytest.raises(EnvironmentFailedError) as caught:
        tenant.visit()
    return caught.value.problems[0]


def files_with(secret: str, root: Path) -> list[Path]:
    """Return the files that hold a secret, by name or by content."""
    files = [path for path in root.rglob("*") if path.is_file()]
    return [path for path in files if secret in str(path) or secret.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    "lines",
    [
        ["--extra-index-url http://trader:${{TOKEN}}@{host}/simple", "spruce==1.0"],
        ["--extra-index-url=http://${{TOKEN}}@{host}/simple", "spruce==1.0"],
        ["--extra-index-url http://{host}/${{TOKEN}}/simple", "spruce==1.0"],
        ["spruce @ http://trader:${{TOKEN}}@{host}/files/spruce-1.0-py3-none-any.whl"],
        ["spruce @ http://{host}/files/spruce-1.0-py3-none-any.whl?token=${{TOKEN}}"],
        ["-r more/private.txt", "# ${{ABSENT}}"],
    ],
)
def test_a_token_reaches_the_index_and_is_left_nowhere(
    tenant: Tenant, server: PrivateIndex, lines: list[str]
) -> None:
    lines = [line.format(host=server.host) for line in lines]
    tenant.requires(*lines, "blankly")
    tenant.requires(
        "spruce @ http://trader:${TOKEN}@" + server.host + "/files/spruce-1.0-py3-none-any.whl",
        name="more/private.txt",
    )
    before = (tenant.model / "requirements.txt").read_bytes()
    with tenant.inside() as environment:
        assert installed(environment)["spruce"] == "1.0"
    assert not files_with(server.token, tenant.root)
    assert server.token not in "\n".join(tenant.log)
    assert (tenant.model / "requirements.txt").read_bytes() == before
    assert server.token not in repr(environment)


def test_an_environment_is_that_of_the_same_values_only(
    tenant: Tenant, server: PrivateIndex
) -> None:
    """They decide what is installed, and who may have it."""
    url = f"http://trader:${{TOKEN}}@{server.host}/simple"
    tenant.requires(f"--extra-index-url {url}", "spruce==${VERSION}", "blankly")
    tenant.variables["VERSION"] = "1.0"
    assert tenant.visit().was_made
    assert not tenant.visit().was_made
    tenant.variables |= {"VERSION": "2.0", "OTHER": "x"}
    second = tenant.visit()
    assert second.was_made
    assert installed(second)["spruce"] == "2.0"
    tenant.variables["TOKEN"] = new_secret()
    problem = refused(tenant)
    assert tenant.variables["TOKEN"] not in problem.text() + "\n".join(tenant.log)
    key = tenant.root / "environments.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.stat().st_size == 32


def test_the_lines_of_constraints_are_filled_in_too(tenant: Tenant, server: PrivateIndex) -> None:
    url = f"http://trader:${{TOKEN}}@{server.host}/simple"
    tenant.requires("-c limits/all.txt", f"--extra-index-url {url}", "spruce", "blankly")
    tenant.requires("spruce==${VERSION}", name="limits/all.txt")
    assert "`VERSION`" in refused(tenant).message
    tenant.variables["VERSION"] = "1.0"
    assert installed(tenant.visit())["spruce"] == "1.0"


@pytest.mark.parametrize(
    ("line", "number"), [("spruce==${VERSION}", 1), ("-r ${PLACE}/x.txt", 1), ("-e ${HOME}", 1)]
)
def test_other_variables_are_not_filled_in(tenant: Tenant, line: str, number: int) -> None:
    """Those of the server hold secrets of its own, and pip would send the name as it stands."""
    tenant.environ |= {"HOME": str(tenant.root), "UV_X": "x"}
    tenant.requires(line, "blankly")
    problem = refused(tenant)
    name = line.partition("${")[2].partition("}")[0]
    assert problem.message == f"The requirements name the variable `{name}`, which is not given."
    assert "`model-env`" in problem.hint
    assert (problem.path, problem.line) == ("requirements.txt", number)
    assert not tenant.directory.exists()


def test_the_settings_of_the_installer_cannot_be_asked_for(
    tenant: Tenant, server: PrivateIndex
) -> None:
    """Else whoever writes a model could have the server's passwords sent to himself."""
    tenant.requires(f"--extra-index-url http://{server.host}/${{UV_DEFAULT_INDEX}}", "blankly")
    refused(tenant)
    assert server.asked == []


@pytest.mark.parametrize("value", ["a${HOME}b", "a\nb"])
def test_a_value_that_would_be_filled_in_again_is_refused(tenant: Tenant, value: str) -> None:
    tenant.variables["VERSION"] = value
    tenant.requires("blankly", "spruce==${VERSION}")
    problem = refused(tenant)
    assert problem.message == "The value of `VERSION` cannot be put into requirements."
    assert problem.line == 2


def test_a_value_is_not_quoted_in_a_problem(tenant: Tenant) -> None:
    value = new_secret()
    tenant.variables = {"PLACE": value, "WHAT": f"no requirement {value}"}
    tenant.requires("-r ${PLACE}/x.txt")
    assert value not in refused(tenant).text()
    tenant.requires("${WHAT}")
    assert value not in refused(tenant).text()
    assert value not in "\n".join(tenant.log)


def test_a_package_of_the_model_is_known_by_its_filled_in_path(tenant: Tenant) -> None:
    """Such an environment is for one run: the text does not tell what is installed."""
    package = tenant.model / "pine"
    package.mkdir()
    (package / "pyproject.toml").write_text('[project]\nname = "pine"\nversion = "1"\n')
    tenant.variables["WHERE"] = "./pine"
    tenant.requires("blankly", "${WHERE}")
    with pytest.raises(EnvironmentFailedError):  # no build backend in this index
        tenant.visit()
    assert tenant.made == []
    assert not (tenant.root / "environments.key").exists()
