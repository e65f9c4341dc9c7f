"""uv, the installer: found, run with nothing secret around it, and its failures made readable."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from deploy_action.errors import Problem
from deploy_action.platform.environments.failure import EnvironmentFailedError
from deploy_action.platform.processes.child_process import PROXY_VARIABLES, run_process
from deploy_action.text.harmless import cut, plain, redacted, written_forms

OnLine = Callable[[str], None]

_LONGEST_REASON: Final = 1_000
_MOST_LINES: Final = 2_000
_PASSED: Final = frozenset(
    {
        "PATH",
        "HOME",
        "TMPDIR",
        "LANG",
        "NETRC",
        "SSL_CERT_DIR",
        *PROXY_VARIABLES,
    }
)
_PASSED_PREFIXES: Final = ("XDG_", "UV_")
# Secrets that installing does not need, and settings that would send uv to another place.
_NOT_PASSED: Final = re.compile(
    r"UV_(?:PUBLISH_.*|GITHUB_TOKEN|AUTH_TOKEN|API_KEY|INTERNAL_.*|PROJECT.*|WORKING_DIR.*|PYTHON"
    r"|SYSTEM_PYTHON|BREAK_SYSTEM_PACKAGES|VENV_.*|ENV_FILE|RUN_.*|NO_PROGRESS|NO_CONFIG)"
)
# What people have set up for pip; uv has names of its own, and lists are split at blanks by both.
_NAMES_FROM_PIP: Final = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_CONSTRAINT": "UV_CONSTRAINT",
}
# Bundles of certificates that people have set up for other programs; uv reads the first name alone.
_BUNDLES: Final = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE")
_OLD_NAMES: Final = {"UV_DEFAULT_INDEX": "UV_INDEX_URL", "UV_INDEX": "UV_EXTRA_INDEX_URL"}
# What decides which packages the same requirements get.
_DECISIVE: Final = re.compile(
    r"UV_(?:(?:DEFAULT_|EXTRA_)?INDEX(?:_URL|_STRATEGY)?|FIND_LINKS|(?:BUILD_)?CONSTRAINT|OVERRIDE"
    r"|EXCLUDE.*|RESOLUTION|PRERELEASE|NO_BINARY.*|NO_BUILD.*|ONLY_BINARY.*|TORCH_BACKEND"
    r"|CONFIG_FILE)"
)
_USER_IN_URL: Final = re.compile(r"(?<=//)[^\s/]+@")
_ERROR: Final = "error:"
_CAUSE: Final = "cause:"
_UNDERLINE: Final = re.compile(r"[\^~\s]+")


def uv_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Choose what uv, and the build scripts that it runs, may see of a process's environment."""
    chosen = {name: value for name, value in environ.items() if _is_passed(name)}
    for pip_name, name in _NAMES_FROM_PIP.items():
        is_set = name in chosen or _OLD_NAMES.get(name) in chosen
        if not is_set and (value := environ.get(pip_name, "").strip()):
            chosen[name] = value
    return _certificates(environ) | chosen


def _certificates(environ: Mapping[str, str]) -> dict[str, str]:
    """Let uv trust what pip would: a bundle that was named, else the system's, where it has any."""
    import ssl

    if bundle := next((environ[name] for name in _BUNDLES if environ.get(name)), None):
        return {"SSL_CERT_FILE": bundle}
    system = ssl.get_default_verify_paths()
    has_any = system.cafile or (system.capath and any(Path(system.capath).iterdir()))
    if environ.get("SSL_CERT_DIR") or not has_any:
        return {}
    return {"UV_SYSTEM_CERTS": "true"}


def _is_passed(name: str) -> bool:
    passed = name in _PASSED or name.startswith(_PASSED_PREFIXES)
    return passed and not _NOT_PASSED.fullmatch(name)


class UvFailedError(Exception):
    """uv said no.

    `reason` is what it said, in one paragraph without credentials; `cause` the last thing of it.
    """

    def __init__(self, *causes: str) -> None:
        """Keep what uv said, from the failure to what caused it at last."""
        self.reason = cut(": ".join(causes), _LONGEST_REASON)
        self.cause = causes[-1]
        super().__init__(self.reason)


@dataclass(frozen=True, slots=True)
class Uv:
    """uv with the environment it runs in."""

    environ: Mapping[str, str]

    @classmethod
    def for_environ(cls, environ: Mapping[str, str]) -> Uv:
        """Return uv as a process with this environment may use it."""
        return cls(uv_environment(environ))

    @property
    def decisive_settings(self) -> tuple[tuple[str, str], ...]:
        """What of the environment decides which packages are installed, without credentials."""
        chosen = ((n, v) for n, v in sorted(self.environ.items()) if _DECISIVE.fullmatch(n))
        settings = [(name, _USER_IN_URL.sub("", value)) for name, value in chosen]
        for path in self.constraint_files:
            with suppress(OSError):  # uv will say so
                settings.append((str(path), hashlib.sha256(path.read_bytes()).hexdigest()))
        return tuple(settings)

    @property
    def constraint_files(self) -> tuple[Path, ...]:
        """The files of constraints that the environment names; uv forgets them if told of more."""
        return tuple(map(Path, self.environ.get("UV_CONSTRAINT", "").split()))

    def run(
        self,
        *arguments: str | Path,
        cwd: Path,
        on_line: OnLine,
        stop: threading.Event,
        **settings: str,
    ) -> list[str]:
        """Run uv and return the lines it wrote; each goes to `on_line` too.

        `settings` are variables of its environment beside those it has. Files that it makes are
        readable by all.

        Raises:
            UvFailedError: it did not succeed.
            StoppedError: `stop` was set.
        """
        command = [str(_binary()), *map(str, arguments), "--color=never", "--no-progress"]
        if "UV_CONFIG_FILE" not in self.environ:
            # uv.toml and pyproject.toml of a model, or above it, have no say: pip reads none.
            command.append("--no-config")
        lines: list[str] = []
        secrets = self._secrets()

        def keep(line: str) -> None:
            shown = without_credentials(line, secrets)
            if len(lines) < _MOST_LINES:
                lines.append(shown)
            on_line(shown)

        ended = run_process(
            # So that others can read what is made, whatever the mask of this process is.
            ["/bin/sh", "-c", 'umask 022; exec "$@"', "sh", *command],
            cwd=cwd,
            environ={**self.environ, **settings},
            on_line=keep,
            stop=stop,
        )
        if ended.code != 0:
            raise UvFailedError(*_causes(lines), *_by_signal(ended.code))
        return lines

    def _secrets(self) -> tuple[str, ...]:
        """Return passwords for package indexes, which a build script might print."""
        found = [value for name, value in self.environ.items() if name.endswith("_PASSWORD")]
        for value in self.environ.values():
            for user in _USER_IN_URL.findall(value):
                written = user.rstrip("@").partition(":")[2] or user.rstrip("@")
                found += [written, unquote(written)]
        return tuple(form for secret in dict.fromkeys(found) for form in written_forms(secret))


def without_credentials(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Return text without the users and passwords of the URLs in it, and without `secrets`."""
    return redacted(_USER_IN_URL.sub("***@", text), secrets)


def _binary() -> Path:
    import uv

    try:
        return Path(os.fsdecode(uv.find_uv_bin()))
    except FileNotFoundError as error:
        problem = Problem(
            message="uv, which makes the environments of models, is not installed beside this.",
            hint="Install this program anew, with all that it depends on.",
        )
        raise EnvironmentFailedError(problem) from error


def _by_signal(code: int) -> tuple[str, ...]:
    return (f"signal {-code} ended it",) if code < 0 else ()


def _causes(lines: list[str]) -> list[str]:
    """Return the error that uv ended with, and what caused it, each as one line."""
    plain_lines = [plain(line) for line in lines]
    starts = [n for n, line in enumerate(plain_lines) if line.startswith(_ERROR)]
    causes: list[str] = []
    for line in plain_lines[starts[-1] if starts else -10 :]:
        text = line.removeprefix(_ERROR).strip()
        if text.startswith(_CAUSE) or not causes:
            causes.append(text.removeprefix(_CAUSE).strip())
        elif text and not _UNDERLINE.fullmatch(text):
            causes[-1] = f"{causes[-1]} {text}"
    return [cause for cause in causes if cause] or ["it did not say why"]
