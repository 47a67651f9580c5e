"""Parts of a machine that a package cannot bring: Java, Postgres, a browser."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import pytest

REQUIRED = "REQUIRE_SYSTEM_PARTS"


def require_program(command: str, name: str, elsewhere: Iterable[Path] = ()) -> str:
    """Return the path of a program; where it is absent, skip by name, or fail when REQUIRE_SYSTEM_PARTS=1.

    `elsewhere` are folders in which distributions keep it beside the PATH.
    """
    path = shutil.which(command) or shutil.which(command, path=os.pathsep.join(map(str, elsewhere)))
    if path is None:
        absent(f"{name} is not installed (no {command!r} on the PATH)")
    return path


def absent(reason: str) -> NoReturn:
    """Skip the test, or fail it where every part must be there."""
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{reason}, and {REQUIRED}=1 asks for it", pytrace=False)
    pytest.skip(reason)
