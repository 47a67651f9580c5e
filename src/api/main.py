"""The API as a process: `python -m src.api.main` serves safely by default; `uvicorn src.api.main:app` works as well."""

import argparse
import ctypes
import ipaddress
import logging
import resource
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import uvicorn

from src.api.app import create_app
from src.api.drain import GRACE_SECONDS
from src.api.front import AnswerCut
from src.api.lines import LINES, JsonLines, LinesHandler
from src.api.protocol import GuardedProtocol
from src.core.cli import EXIT_CODES, HelpFormatter, read_settings, run_command
from src.core.config import Settings
from src.core.errors import ConfigError, HousecastError

logger = logging.getLogger(__name__)

# Above the 60 s of a load balancer, which must be the first to close a connection that nobody uses.
KEEP_ALIVE_SECONDS = 75
# An idle connection costs some 10 kB.
MOST_CONNECTIONS = 50_000
RESERVED_FILES = 256
M_ARENA_MAX = -8  # of glibc's malloc.h


def __getattr__(name: str) -> Any:
    """Make `app` when a server asks for it, and not for whoever imports this module."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return create_app(read_settings())
    except HousecastError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(error.exit_code) from error


def check_binding(host: str, settings: Settings) -> None:
    """Refuse to listen beyond this machine without API keys, unless that was asked for (ConfigError)."""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback and not settings.api_keys and not settings.allow_anonymous:
        raise ConfigError(
            f"--host {host}: whoever reaches this machine could ask, as there are no API keys. Set API_KEYS (make one"
            " with `python -m src.api.keys NAME`), or ALLOW_ANONYMOUS=true if that is meant"
        )


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    check_binding(host, settings)
    # A heap for each thread, as glibc makes them, keeps what was freed from the others.
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)
    # uvicorn ends by the signal that it was stopped with, if that came before it could be taken over (`drain.py`).
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    connections = _allow_many_connections()
    _log_lines(settings.log_level)
    config = uvicorn.Config(
        create_app(settings),
        host=host,
        port=port,
        http=partial(GuardedProtocol, most_tasks=2 * settings.max_in_flight, most_connections=connections),  # type: ignore[arg-type]
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    try:
        uvicorn.Server(config).run()
    except KeyboardInterrupt:
        logger.info("stopped by Ctrl-C")
    finally:
        LINES.flush()


def _allow_many_connections() -> int:
    """Raise the limit of open files as far as the system lets; returns how many of them may be connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # The rest is for the store's connections and for the files of a version that is fetched.
    return min(max(hard - RESERVED_FILES, hard // 2), MOST_CONNECTIONS)


def _log_lines(level: str) -> None:
    handler = LinesHandler()
    handler.setFormatter(JsonLines())
    handler.addFilter(_is_news)
    for name in ("src", "__main__", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False


def _is_news(record: logging.LogRecord) -> bool:
    # uvicorn reports as a failure of the application what closes a connection in the middle of an answer.
    return not (record.exc_info and isinstance(record.exc_info[1], AnswerCut))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the server from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m src.api.main",
        description=__doc__.splitlines()[0],
        epilog=EXIT_CODES,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on")
    args = parser.parse_args(argv)
    serve(read_settings(), args.host, args.port)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
