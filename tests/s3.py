"""A real S3 server of this machine for the tests: moto's, in a process of its own, in memory."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from s3fs import S3FileSystem
from upath import UPath

BUCKET = "utr"


@contextmanager
def s3_server() -> Iterator[str]:
    """Its address; credentials and address stand in the environment, as users put them there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(server, url)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", url)
            patch.setenv("AWS_ACCESS_KEY_ID", "tests")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            with fresh_stores():
                UPath("s3://").fs.mkdir(BUCKET)
                yield url
    finally:
        server.kill()
        server.wait()


@contextmanager
def fresh_stores() -> Iterator[None]:
    """No connection with addresses and credentials that were, or will have been, in the environment."""
    S3FileSystem.clear_instance_cache()
    try:
        yield
    finally:
        S3FileSystem.clear_instance_cache()


def _wait(server: "subprocess.Popen[bytes]", url: str) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert server.poll() is None, "the server ended"
        try:
            urlopen(f"{url}/moto-api/", timeout=5).close()
        except (URLError, TimeoutError):
            time.sleep(0.1)
        else:
            return
    raise AssertionError("no S3 server within 60 s")


def keys(folder: str) -> set[str]:
    """What lies under a URL, relative to it: asked past every cache."""
    root = UPath(folder)
    root.fs.invalidate_cache()
    return {str(key).removeprefix(f"{root.path}/") for key in root.fs.find(root.path)}


def objects(folder: str) -> dict[str, bytes]:
    """The same with their bytes; nobody may write there meanwhile."""
    root = UPath(folder)
    return {key: (root / key).read_bytes() for key in keys(folder)}
