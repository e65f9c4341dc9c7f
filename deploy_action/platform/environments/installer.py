"""Runs uv, the installer, without the secrets of our environment, and explains its failures."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from deploy_action.errors import Problem
from deploy_action.http.proxies import VARIABLES, proxy_in
from deploy_action.platform.environments.failure import EnvironmentFailedError
from deploy_action.platform.processes.child_process import run_process
from deploy_action.platform.processes.confinement import DISK_VARIABLE, Confinement
from deploy_action.records import dataclass, field
from deploy_action.text.harmless import cut_middle, plain
from deploy_action.text.redaction import redacted

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
        "SSL_CERT_FILE",
        *VARIABLES,
    }
)
_PASSED_PREFIXES: Final = ("XDG_", "UV_")
# Secrets that uv does not need to install, and settings that would make it install elsewhere, or
# run what it installs.
_NOT_PASSED: Final = re.compile(
    r"UV_(?:PUBLISH_.*|GITHUB_TOKEN|AUTH_TOKEN|API_KEY|INTERNAL_.*|PROJECT.*|WORKING_DIR.*|PYTHON"
    r"|SYSTEM_PYTHON|BREAK_SYSTEM_PACKAGES|VENV_.*|ENV_FILE|RUN_.*|NO_PROGRESS|NO_CONFIG"
    r"|COMPILE_BYTECODE.*)"
)
# Users configure pip; uv has its own names for the same settings. Both split lists at blanks.
_NAMES_FROM_PIP: Final = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_CONSTRAINT": "UV_CONSTRAINT",
}
_OLD_NAMES: Final = {"UV_DEFAULT_INDEX": "UV_INDEX_URL", "UV_INDEX": "UV_EXTRA_INDEX_URL"}
# Settings that decide which packages are installed for the same requirements.
_DECISIVE: Final = re.compile(
    r"UV_(?:(?:DEFAULT_|EXTRA_)?INDEX(?:_URL|_STRATEGY)?|FIND_LINKS|(?:BUILD_)?CONSTRAINT|OVERRIDE"
    r"|EXCLUDE.*|RESOLUTION|PRERELEASE|NO_BINARY.*|NO_BUILD.*|ONLY_BINARY.*|TORCH_BACKEND"
    r"|CONFIG_FILE)"
)
_INDEXES: Final = re.compile(r"UV_(?:(?:DEFAULT_|EXTRA_)?INDEX(?:_URL)?|FIND_LINKS|CONFIG_FILE)")
_USER_IN_URL: Final = re.compile(r"(?<=//)[^\s/]+@")
# With a `/` that should be escaped: uv reads another address then, and quotes it.
_WRONG_PASSWORD: Final = re.compile(r"//[^\s/@:]+:(\S*/\S*)@")
_URL: Final = re.compile(r"https?://[^\s/()`,]+")
_EXCHANGE: Final = re.compile(
    r"error sending request|client error|Failed to fetch|returned an? \d{3}"
)
_ERROR: Final = "error:"
_CAUSE: Final = "cause:"
# uv always ends a failed build with this hint, which says nothing about the reason.
_EMPTY_HINT: Final = "hint: Build failures usually indicate"
_UNDERLINE: Final = re.compile(r"[\^~\s]+")
# uv heads the output of a build with its stream.
_STREAM: Final = re.compile(r"\s+\[std(?:out|err)\]")
_TRACEBACK: Final = re.compile(r"(\s*)Traceback \(most recent call last\):")


def with_temporary_cache(environ: Mapping[str, str], cache: Path) -> dict[str, str]:
    """Return the variables of a uv whose cache will be removed: nothing installed leads there."""
    found = {**environ, "UV_CACHE_DIR": str(cache)}
    if found.get("UV_LINK_MODE") == "symlink":
        found["UV_LINK_MODE"] = "hardlink"
    return found


def uv_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that uv, and the build scripts it runs, may see."""
    chosen = {name: value for name, value in environ.items() if _is_passed(name)}
    for pip_name, name in _NAMES_FROM_PIP.items():
        is_set = name in chosen or _OLD_NAMES.get(name) in chosen
        if not is_set and (value := environ.get(pip_name, "").strip()):
            chosen[name] = value
    return _certificates(environ) | chosen


def _certificates(environ: Mapping[str, str]) -> dict[str, str]:
    """Make uv trust the system's certificates, unless others are named."""
    import ssl

    if environ.get("SSL_CERT_FILE") or environ.get("SSL_CERT_DIR"):
        return {}
    system = ssl.get_default_verify_paths()
    has_any = system.cafile or (system.capath and any(Path(system.capath).iterdir()))
    return {"UV_SYSTEM_CERTS": "true"} if has_any else {}


def _is_passed(name: str) -> bool:
    passed = name in _PASSED or name.startswith(_PASSED_PREFIXES)
    return passed and not _NOT_PASSED.fullmatch(name)


class UvFailedError(Exception):
    """uv failed.

    `reason` is its error with all causes, as one paragraph without credentials. If it is long, its
    middle is left out: what failed is at the start, and a build says why at the end. `cause` is the
    last cause alone.
    """

    def __init__(self, *causes: str) -> None:
        """`causes` go from uv's error to the root cause."""
        self.reason = cut_middle(": ".join(causes), _LONGEST_REASON)
        self.cause = causes[-1]
        super().__init__(self.reason)


@dataclass(frozen=True, slots=True)
class Uv:
    """uv, with the environment variables it runs with, and texts that it must not show.

    Without a `confinement`, it runs as we do. Files that it makes are readable by all.
    """

    environ: Mapping[str, str]
    hidden: tuple[str, ...] = field(default=(), repr=False)
    confinement: Confinement = Confinement(umask=0o022)

    @classmethod
    def for_environ(cls, environ: Mapping[str, str]) -> Uv:
        """Return uv for a process with these environment variables."""
        return cls(uv_environment(environ))

    @property
    def decisive_settings(self) -> tuple[tuple[str, str], ...]:
        """The settings that decide which packages are installed, without credentials."""
        chosen = ((n, v) for n, v in sorted(self.environ.items()) if _DECISIVE.fullmatch(n))
        settings = [(name, _USER_IN_URL.sub("", value)) for name, value in chosen]
        for path in self.constraint_files:
            with suppress(OSError):  # uv will report it
                settings.append((str(path), hashlib.sha256(path.read_bytes()).hexdigest()))
        return tuple(settings)

    @property
    def has_own_indexes(self) -> bool:
        """Whether packages may come from elsewhere than PyPI."""
        return any(map(_INDEXES.fullmatch, self.environ))

    @property
    def constraint_files(self) -> tuple[Path, ...]:
        """The constraint files in UV_CONSTRAINT, which uv ignores if --constraint is passed."""
        return self._files_in("UV_CONSTRAINT")

    @property
    def excluding_files(self) -> tuple[Path, ...]:
        """The files in UV_EXCLUDE, which uv ignores if --excludes is passed."""
        return self._files_in("UV_EXCLUDE")

    def _files_in(self, name: str) -> tuple[Path, ...]:
        return tuple(map(Path, self.environ.get(name, "").split()))

    def run(
        self,
        *arguments: str | Path,
        cwd: Path,
        on_line: OnLine,
        stop: threading.Event,
        **settings: str,
    ) -> list[str]:
        """Run uv and return its output lines; each also goes to `on_line`.

        `settings` are additional environment variables.

        Raises:
            UvFailedError: uv failed.
            StoppedError: `stop` was set.
        """
        command = [str(uv_binary()), *map(str, arguments), "--color=never", "--no-progress"]
        if "UV_CONFIG_FILE" not in self.environ:
            # Ignore uv.toml and pyproject.toml in the model or above it, as pip does.
            command.append("--no-config")
        lines: list[str] = []
        secrets = self._secrets()

        def keep(line: str) -> None:
            shown = without_credentials(line, secrets)
            if len(lines) < _MOST_LINES:
                lines.append(shown)
            on_line(shown)

        ended = run_process(
            command,
            cwd=cwd,
            environ={**self.environ, **settings},
            on_line=keep,
            stop=stop,
            confinement=self.confinement,
        )
        if ended.left:
            raise UvFailedError("a process that a package started could not be ended")
        if ended.out_of_disk:
            raise UvFailedError(f"it wrote more than {DISK_VARIABLE} allows for packages")
        if ended.code != 0:
            causes = [*_causes(lines), *_by_signal(ended.code)]
            causes[-1] += self._through(causes)
            raise UvFailedError(*causes)
        return lines

    def _through(self, causes: Iterable[str]) -> str:
        """Return the proxy of an exchange that failed: uv does not name it."""
        text = ": ".join(causes)
        if not _EXCHANGE.search(text) or not (found := _URL.search(text)):
            return ""
        proxy = proxy_in(self.environ, found[0])
        return f", through {proxy.named}" if proxy else ""

    def _secrets(self) -> tuple[str, ...]:
        """Return what is hidden, and the passwords for indexes: a build script might print them."""
        found = [value for name, value in self.environ.items() if name.endswith("_PASSWORD")]
        found += self.hidden
        for value in self.environ.values():
            users = [user.rstrip("@") for user in _USER_IN_URL.findall(value)]
            written = [user.partition(":")[2] or user for user in users]
            written += _WRONG_PASSWORD.findall(value)
            found += [*written, *map(unquote, written)]
        return tuple(dict.fromkeys(found))


def without_credentials(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Remove users and passwords in URLs, and `secrets`, from a text."""
    return redacted(_USER_IN_URL.sub("***@", text), secrets)


def uv_binary() -> Path:
    """Return the path of uv; raise EnvironmentFailedError if it is not installed."""
    import uv

    try:
        return Path(os.fsdecode(uv.find_uv_bin()))
    except FileNotFoundError as error:
        problem = Problem(
            message="uv is not installed with this program, which needs it to make environments.",
            hint="Reinstall this program with its dependencies.",
        )
        raise EnvironmentFailedError(problem) from error


def _by_signal(code: int) -> tuple[str, ...]:
    return (f"it was ended by signal {-code}",) if code < 0 else ()


def _causes(lines: list[str]) -> list[str]:
    """Return uv's last error and its causes, each as one line."""
    plain_lines = [plain(line) for line in lines]
    starts = [n for n, line in enumerate(plain_lines) if line.startswith(_ERROR)]
    causes: list[str] = []
    for line in _without_frames(plain_lines[starts[-1] if starts else -10 :]):
        text = line.removeprefix(_ERROR).strip()
        if text.startswith(_CAUSE) or not causes:
            causes.append(text.removeprefix(_CAUSE).strip())
        elif text and not _UNDERLINE.fullmatch(text) and not text.startswith(_EMPTY_HINT):
            causes[-1] = f"{causes[-1]} {text}"
    return [cause for cause in causes if cause] or ["it did not say why"]


def _without_frames(lines: Iterable[str]) -> Iterator[str]:
    """Leave out the frames of tracebacks, and the headings of a build's output."""
    inside: str | None = None  # how far the traceback is indented
    for line in lines:
        if inside is not None and (not line.strip() or line.startswith(f"{inside} ")):
            continue
        started = _TRACEBACK.match(line)
        inside = started[1] if started else None
        if not started and not _STREAM.fullmatch(line):
            yield line
