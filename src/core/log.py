"""Logging set-up, called by command lines and servers, never on import."""

import logging
import sys


def set_up_logging(level: str = "INFO") -> None:
    """Send log lines to standard error; standard output stays for results."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"))
    # A stage that is started as a script logs as `__main__`.
    for name in ("src", "__main__"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False
    # What they log they raise as well, and housecast says it in words of its own, without a traceback or a user's name.
    for name in ("sqlalchemy", "psycopg"):
        logging.getLogger(name).handlers[:] = [logging.NullHandler()]
