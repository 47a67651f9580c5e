"""A real S3 endpoint, moto's server, as a process of its own: in a test's process coverage would follow all it does."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from src.core.config import PROJECT


@contextmanager
def running() -> Iterator[str]:
    """Yield the address of an endpoint that is there until the block, or this process, ends."""
    command = [sys.executable, "-m", "tests.s3_server"]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def one_at_a_time(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Make moto check and write in one step, as S3 does: its server answers requests in parallel threads."""
    lock = threading.Lock()

    def locked(*arguments: Any, **options: Any) -> Any:
        with lock:
            return handler(*arguments, **options)

    return locked


def main() -> None:
    """Serve until the standard input ends."""
    from moto.s3.responses import S3Response
    from moto.server import ThreadedMotoServer

    S3Response.put_object = one_at_a_time(S3Response.put_object)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    sys.stdout.write(f"http://{host}:{port}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
