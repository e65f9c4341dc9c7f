"""An HTTP/1.1 parser that refuses what another server might read in another way.

A proxy in front of this server may see other borders between requests than h11 does. Then one
client's request could hide in the body of another's.
"""

from __future__ import annotations

import re

import h11

from deploy_action.platform.api.http.limits import MAX_HEAD_BYTES

# The event loop serves nobody else while it parses what one call has received.
_FEWEST_BYTES_AT_ONCE = 1 << 14
_MOST_BYTES_AT_ONCE = 1 << 18
_FREE_CHUNKS = 1 << 16  # of any size; a body of more has to have chunks of this mean size:
_MEAN_CHUNK_BYTES = 64
_VERSIONS = frozenset({b"1.0", b"1.1"})
_LENGTH = b"content-length"
_CODING = b"transfer-encoding"
# A line that ends with one half of CRLF, or goes on in the next one (RFC 9112, 2.2 and 5.2).
_UNCLEAR_LINES = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|\n[ \t]")
_NO_LETTER_OR_DIGIT = re.compile(rb"[^a-z0-9]")


class Parser(h11.Connection):
    """h11, without its leniency, and with limits on chunks.

    h11 spends as much time on a chunk of one byte as on a block of 256 KiB.
    """

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD_BYTES)
        self._left = self._chunks = 0
        self._is_chunked = False
        self.problem = ""  # why `next_event` raised

    @property
    def bytes_wanted(self) -> int:
        """How much to receive at once: no more than a few thousand chunks."""
        rest_of_chunk = getattr(self._reader, "_bytes_in_chunk", 0)  # private: 0 is only slower
        expected = max(self._left, rest_of_chunk)
        return min(expected + _FEWEST_BYTES_AT_ONCE, _MOST_BYTES_AT_ONCE)

    def next_event(self) -> type[h11.NEED_DATA | h11.PAUSED] | h11.Event:
        """Return the next event; raise `RemoteProtocolError` for what is not clear."""
        try:
            return self._next_event()
        except h11.RemoteProtocolError as error:
            self.problem = str(error)
            raise

    def _next_event(self) -> type[h11.NEED_DATA | h11.PAUSED] | h11.Event:
        is_framed = self._is_chunked or self.their_state is h11.IDLE
        before = self.trailing_data[0] if is_framed else b""
        event = super().next_event()
        read = before[: len(before) - len(self.trailing_data[0])] if is_framed else b""
        if isinstance(event, h11.Request):
            _check_head(event, read)
            self._is_chunked = any(name == _CODING for name, _ in event.headers)
            self._left = int(dict(event.headers).get(_LENGTH, 0))
            self._chunks = 0
        elif self._is_chunked:
            self._check_chunk(event, read)
        elif isinstance(event, h11.Data):
            self._left -= len(event.data)
        return event

    def _check_chunk(
        self, event: type[h11.NEED_DATA | h11.PAUSED] | h11.Event, read: bytes
    ) -> None:
        """Check what was read for one event: the rest of a line's end, a line, data."""
        if isinstance(event, h11.Data):
            read = read[: len(read) - len(event.data)]
            self._left -= len(event.data)
            self._chunks += event.chunk_end
            if self._chunks > max(_FREE_CHUNKS, -self._left / _MEAN_CHUNK_BYTES):
                raise h11.RemoteProtocolError("too many small chunks")
        is_end = isinstance(event, h11.EndOfMessage)
        self._is_chunked = not is_end
        half = 1 if read.startswith(b"\n") else 0  # of a CRLF that was read in two pieces
        if _UNCLEAR_LINES.search(read, half) or (is_end and not read.endswith(b"\r\n")):
            raise h11.RemoteProtocolError("a line of the chunked body has an unclear end")


def _check_head(request: h11.Request, head: bytes) -> None:
    """Refuse a head by which another server might find another end of the request."""
    if request.http_version not in _VERSIONS:
        raise h11.RemoteProtocolError("the version of HTTP is neither 1.0 nor 1.1")
    if _UNCLEAR_LINES.search(head):
        raise h11.RemoteProtocolError("a line of the head has an unclear end")
    lengths = 0
    for line in head.split(b"\r\n")[1:]:
        written, _, value = line.partition(b":")
        name = written.lower()
        meant = _NO_LETTER_OR_DIGIT.sub(b"-", name)  # some servers take `_` for `-`
        if meant not in {_LENGTH, _CODING}:
            continue
        lengths += 1
        if name != meant or lengths > 1 or b"," in value:
            raise h11.RemoteProtocolError("the length of the body is unclear")
        if name == _CODING and request.http_version == b"1.0":
            raise h11.RemoteProtocolError("HTTP/1.0 has no Transfer-Encoding")
