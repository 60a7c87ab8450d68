"""Values over a pipe: a length, a pickle, then its large buffers as they lie in memory."""

import pickle
import struct
from typing import IO, Any

_LENGTH = struct.Struct("<Q")


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


def receive(pipe: IO[bytes]) -> Any:
    """The next value; EOFError where the other end is gone."""
    (n_parts,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    parts = [_exactly(pipe, _LENGTH.unpack(_exactly(pipe, _LENGTH.size))[0]) for _ in range(n_parts)]
    return pickle.loads(parts[0], buffers=parts[1:])


def _exactly(pipe: IO[bytes], n_bytes: int) -> bytearray:
    data = bytearray(n_bytes)
    view, taken = memoryview(data), 0
    while taken < n_bytes:
        got = pipe.readinto(view[taken:])  # type: ignore[attr-defined]
        if not got:
            raise EOFError(f"pipe closed after {taken} of {n_bytes} bytes")
        taken += got
    return data
