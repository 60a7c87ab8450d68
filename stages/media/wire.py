"""Values over a pipe: a length, a pickle, then its large buffers as they lie in memory."""

import pickle
import struct
from typing import IO, Any

_LENGTH = struct.Struct("<Q")
# What bytes that are no pickle raise, by its manual and a little beyond.
_NO_PICKLE = (pickle.UnpicklingError, AttributeError, EOFError, ImportError, LookupError, TypeError, ValueError)


class NoAnswer(Exception):
    """What came over the pipe is no value."""


def send(pipe: IO[bytes], value: Any) -> None:
    """Writes one value; arrays are not copied."""
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    parts = [memoryview(body), *(buffer.raw() for buffer in buffers)]
    pipe.write(_LENGTH.pack(len(parts)))
    for part in parts:
        pipe.write(_LENGTH.pack(part.nbytes))
        pipe.write(part)
    pipe.flush()


def receive(pipe: IO[bytes], max_bytes: int | None = None) -> Any:
    """The next value; EOFError where the other end is gone, NoAnswer where it sends something else.

    A part that is announced with more than `max_bytes` is not waited for: no memory is taken on its word.
    """
    (n_parts,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    parts = [_part(pipe, max_bytes) for _ in range(n_parts)]
    try:
        return pickle.loads(parts[0], buffers=parts[1:])
    except _NO_PICKLE as error:
        raise NoAnswer(f"{len(parts)} parts are no pickle: {error}") from error


def _part(pipe: IO[bytes], max_bytes: int | None) -> bytearray:
    (n_bytes,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    if max_bytes is not None and n_bytes > max_bytes:
        raise NoAnswer(f"a part of {n_bytes} bytes is announced, at most {max_bytes} can be")
    return _exactly(pipe, n_bytes)


def _exactly(pipe: IO[bytes], n_bytes: int) -> bytearray:
    data = bytearray(n_bytes)
    view, taken = memoryview(data), 0
    while taken < n_bytes:
        got = pipe.readinto(view[taken:])  # type: ignore[attr-defined]
        if not got:
            raise EOFError(f"pipe closed after {taken} of {n_bytes} bytes")
        taken += got
    return data
