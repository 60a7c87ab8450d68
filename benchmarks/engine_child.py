"""The decoder child, which also counts: `python -m benchmarks.engine_child FILE ...` adds to FILE what it decoded.

A line of JSON for each time a film was open: by whom ("scan", "frames"), the film, and the times of all pictures that
came out of the decoder, whether anybody wanted them or not.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from stages.media import decode_child, frames, packets, reader, scan
from stages.media.child import Child

Decoded = Counter[tuple[str, str, int | None]]  # by whom, location of the film, tick


class _Counted:
    """A container or packet whose decoding is counted; all else is its own."""

    def __init__(self, inner: Any, ticks: list[int | None]) -> None:
        self._inner, self._ticks = inner, ticks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def demux(self, *streams: Any) -> Iterator["_Counted"]:
        return (_Counted(packet, self._ticks) for packet in self._inner.demux(*streams))

    def decode(self) -> list[Any]:
        found = self._inner.decode()
        self._ticks += [frame.pts for frame in found]
        return found


def _counting(who: str, file: Path) -> Any:
    @contextmanager
    def opened(location: str, **options: Any) -> Iterator[tuple[Any, Any]]:
        ticks: list[int | None] = []
        try:
            with packets.opened(location, **options) as (container, stream):
                yield _Counted(container, ticks), stream
        finally:
            with file.open("a") as out:
                out.write(json.dumps([who, location, ticks]) + "\n")

    return opened


@contextmanager
def counting(file: Path) -> Iterator[None]:
    """Within, every decoder child that is started counts into the file."""
    plain = reader.Child
    command = (sys.executable, "-m", "benchmarks.engine_child", str(file))
    reader.Child = partial(Child, command=command)  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        reader.Child = plain  # type: ignore[misc]


def counted(file: Path) -> Decoded:
    """How often each picture was decoded."""
    lines = map(json.loads, file.read_text().splitlines() if file.exists() else ())
    return Counter((who, location, tick) for who, location, ticks in lines for tick in ticks)


def main() -> None:
    file = Path(sys.argv.pop(1))
    scan.opened = _counting("scan", file)  # type: ignore[assignment]
    frames.opened = _counting("frames", file)  # type: ignore[assignment]
    decode_child.main()


if __name__ == "__main__":
    main()
