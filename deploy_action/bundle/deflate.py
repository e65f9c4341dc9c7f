"""Compresses with ISA-L at level 1, so that the result depends on nothing but the data.

One core took 460 MB/s of scripts or prices, to 29% and 32% of their size; zlib's level 1 took 100
MB/s, to 30% and 35% (1 MiB at a time, isal 1.9.1, AMD EPYC).

Called as zlib is, ISA-L's level 1 gave other, valid bytes for the same data in some processes. At
the start of a stream, `igzip_icf_body_h1_gr_bt.asm` (ISA-L 2.32.1, label `.write_first_byte`) takes
the hash of the third byte from register rcx, which holds the address of the stream, not the data.
Only the loop for long input has that fault: it leaves the last 16 bytes to `igzip_icf_finish.asm`,
which hashes what it should, and after which the stream counts as begun. So the first 16 bytes are
flushed alone, for about 7 bytes more. Level 0 has no such fault, but is hardly faster and takes a
quarter more for prices.

Seen: the same data, with other addresses, registers, alignments, and noise in all memory that ISA-L
had not written, gave other bytes in 13 of 160,000 calls without that flush, and in none of five
million with it. Processes with several threads and used heaps agreed. So did, emulated by QEMU,
Nehalem (SSE), Sandy Bridge (AVX), Haswell and EPYC (AVX2), and a real processor with AVX-512. x86
processors from before 2009, without SSE4.2, and ARM processors have bytes of their own; ARM ones
agree among themselves.
"""

from __future__ import annotations

from typing import Final

from isal import isal_zlib

_LEVEL: Final = 1
_RAW_DEFLATE: Final = -15
# At least 4, for one to be hashed; at most 16, so that the faulty loop leaves them out.
_FIRST_BYTES: Final = 16


def deflated(data: bytes, *, is_last: bool = True) -> tuple[bytes, ...]:
    """Return `data` as a deflate stream, or, if it is not the last part of one, as its beginning.

    Other parts may follow a beginning, which ends on a byte boundary.
    """
    packer = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _RAW_DEFLATE)
    view = memoryview(data)
    return (
        packer.compress(view[:_FIRST_BYTES]),
        packer.flush(isal_zlib.Z_SYNC_FLUSH),
        packer.compress(view[_FIRST_BYTES:]),
        packer.flush(isal_zlib.Z_FINISH if is_last else isal_zlib.Z_SYNC_FLUSH),
    )
