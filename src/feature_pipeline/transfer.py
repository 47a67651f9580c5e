"""Show how far a transfer is: a bar on a terminal, one log line elsewhere."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)


@contextmanager
def transfer(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Yield `advance(n)` for n more bytes or rows of `total`, or of a number that nobody knows."""
    # rich takes 0.1 s to import, which sources on this disk need not pay.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    logger.info("%s", what)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)
        yield lambda n: bar.advance(task, n)
