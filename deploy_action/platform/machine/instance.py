"""A running model: its launcher, its pipes, and its end."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final

from deploy_action.platform.environments.locks import FileLock
from deploy_action.platform.live.host import Listener
from deploy_action.platform.machine.limits import Limits
from deploy_action.platform.machine.preparation import PreparedCopy
from deploy_action.platform.machine.reader import Pipe, Reader
from deploy_action.platform.machine.streams import Events, Output
from deploy_action.platform.processes.launching import (
    Custody,
    Ended,
    Launched,
    left_of,
    read_report,
)
from deploy_action.platform.processes.stragglers import end_stragglers
from deploy_action.platform.storage.records import StopReason
from deploy_action.records import dataclass

PURPOSE: Final = "model"
# What a pipe can hold at most, unless its owner has more rights than a model.
_LARGEST_PIPE: Final = 1 << 20
_BLOCK_BYTES: Final = 1 << 16
_COULD_NOT_START: Final = 127  # as shells say it


@dataclass(slots=True)
class Pipes:
    """The reading and writing ends of the pipes for output, errors and events."""

    readers: tuple[int, int, int]
    writers: tuple[int, int, int]

    @classmethod
    def open(cls) -> Pipes:
        """Open them."""
        ends = [os.pipe() for _ in range(3)]
        out, err, events = ends
        return cls((out[0], err[0], events[0]), (out[1], err[1], events[1]))

    def close_writers(self) -> None:
        """Close our copies of the writing ends, which the model has by now."""
        for descriptor in self.writers:
            os.close(descriptor)

    def close_readers(self) -> None:
        """Close the reading ends."""
        for descriptor in self.readers:
            os.close(descriptor)


class RunningModel:
    """An instance; see `Instance`.

    `on_end` is called when nothing is left of it, also no files. `on_error` gets tracebacks of
    bugs of ours, and of the listener.
    """

    def __init__(
        self,
        prepared: PreparedCopy,
        limits: Limits,
        listener: Listener,
        reader: Reader,
        on_end: Callable[[RunningModel], None],
        on_error: Callable[[str], None],
    ) -> None:
        """Prepare; `launch` starts it."""
        self.place = prepared.launch.place
        self._prepared = prepared
        self._limits = limits
        self._listener = listener
        self._reader = reader
        self._on_end = on_end
        self._on_error = on_error
        self._stopping = threading.Lock()
        self._reason: StopReason | None = None
        self._report = b""
        self._is_over = False  # on the reader's thread
        self._has_ended = False  # under the lock: its files may be gone
        self.is_gone = threading.Event()

    def launch(self, lock: FileLock, grace_seconds: float, options: Sequence[str]) -> None:
        """Start the launcher, which takes over the lock, and read what comes.

        The program gets the `options`.

        Raises:
            OSError: it cannot be started.
        """
        prepared, pipes = self._prepared, Pipes.open()
        out, err, events = pipes.writers
        held = [lock.descriptor, prepared.environment.lock]
        options = ("--stop-reason", str(prepared.copy.stop_reason), *options)
        try:
            self._launched = Launched(
                prepared.command(events, *options),
                cwd=prepared.working_directory,
                environ=prepared.variables(),
                confinement=prepared.bounded(self._limits.confinement),
                custody=Custody(
                    grace_seconds=grace_seconds,
                    held=tuple(descriptor for descriptor in held if descriptor >= 0),
                    drained=pipes.readers,
                ),
                inherited=(events,),
                output=out,
                errors=err,
            )
        except BaseException:
            pipes.close_readers()
            raise
        finally:
            pipes.close_writers()
        self._pipes = pipes
        self._reader.call(self._watch)

    def _watch(self) -> None:
        out, self._errors = self._output("out"), self._output("err")
        streams: tuple[Output | Events, ...] = (out, self._errors, Events(self._event))
        self._streams = [
            (Pipe(descriptor, stream.take), stream)
            for descriptor, stream in zip(self._pipes.readers, streams, strict=True)
        ]
        self._report_pipe = Pipe(self._launched.report, self._take_report)
        for pipe in (*(pipe for pipe, _ in self._streams), self._report_pipe):
            self._reader.watch(pipe)

    def _output(self, stream: str) -> Output:
        listener = self._listener
        return Output(
            partial(self._line, stream),
            partial(listener.takes, stream),
            partial(listener.lose, stream),
        )

    def _line(self, stream: str, text: str) -> None:
        with self._guarded():
            self._listener.line(stream, text)

    def _event(self, event: Mapping[str, object], size: int) -> None:
        with self._guarded():
            self._listener.event(event, size)

    def _say(self, text: str) -> None:
        self._line("platform", text)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Whatever fails, an instance goes on to its end, and its listener hears of that."""
        try:
            yield
        except Exception:  # noqa: BLE001  # such as a full disk
            self._on_error(traceback.format_exc())

    def stop(self, reason: StopReason) -> None:
        """Have its teardown called, and end it."""
        with self._stopping:
            if self._reason is not None or self._has_ended:
                return
            self._reason = reason
            try:
                self._prepared.copy.give_reason(reason)
            except OSError as error:  # a stop must not fail
                self._say(f"Its teardown is not told the reason ({reason}): {error.strerror}.")
            self._launched.stop()
        self._reader.call(self._expect_end)

    def _expect_end(self) -> None:
        self._reader.call_at(self._launched.given_up_at, self._give_up)

    def _give_up(self) -> None:
        """Kill a launcher that does not do its work: a model of the same user can stop it."""
        if not self._is_over:
            self._launched.process.kill()

    def _take_report(self, data: bytes) -> float:
        self._report += data
        # The launcher ends after its last line, unless processes are left for which it stays.
        if (not data or left_of(self._report) is not None) and not self._is_over:
            self._is_over = True
            with self._guarded():
                self._read_rest()
            # It may take a moment to end stragglers and to remove files.
            threading.Thread(target=self._finish, name="ending", daemon=True).start()
        return 0.0

    def _read_rest(self) -> None:
        for pipe, stream in self._streams:
            self._reader.leave(pipe)
            rest = b""
            with suppress(BlockingIOError):  # processes that are left may still write
                while len(rest) < _LARGEST_PIPE and (
                    data := os.read(pipe.descriptor, _BLOCK_BYTES)
                ):
                    rest += data
            stream.finish(rest)
        self._reader.leave(self._report_pipe)

    def _finish(self) -> None:
        with self._stopping:
            self._has_ended = True
        ended = Ended(_COULD_NOT_START, left=None)
        with self._guarded():
            ended = self._ending()
        with self._guarded():
            if ended.left == 0:
                self._prepared.workshop.places.park_state(self.place)
        os.close(self._launched.report)
        self._pipes.close_readers()
        with self._guarded():
            self._listener.ended(ended)
        with self._guarded():
            self._prepared.close()
        self._on_end(self)
        self.is_gone.set()
        self._launched.process.wait()  # of one that stays, or it would become a zombie

    def _ending(self) -> Ended:
        launched, prepared = self._launched, self._prepared
        code, left, no_disk = _COULD_NOT_START, None, False
        if left_of(self._report):
            launched.leave()  # it stays, and holds the lock
        else:
            launched.end()
        try:
            ended = read_report(self._report, launched.process.returncode or 0)
            code, left, no_disk = ended.code, ended.left, ended.out_of_disk
        except OSError as error:
            self._say(f"It cannot be started: {error}.")
            left = 0
        if left is None:
            self._say("The process that watches over the model was killed, by it or by the system.")
            marker = prepared.state_variable
            left = end_stragglers(prepared.copy.path, prepared.user, marker=marker)
        group = self._limits.group
        no_memory = group is not None and group.ran_out_of_memory
        if self._limits.is_per_process and self._reason is None:
            no_memory = self._errors.tells_of_no_memory
        if group is not None:
            group.remove()
        return Ended(code, left, out_of_memory=no_memory, out_of_disk=no_disk)
