"""Every error that housecast raises on purpose.

HousecastError
├── ConfigError    a YAML, a setting or a command-line argument is wrong
├── DataError      rows, columns or files are not what the config says
│   └── InvalidRowsError  rows that cannot be priced, each with its number, field and reason
├── StoreError     the model store refused, or lost a race
├── BundleError    a model version is incomplete, altered or made for other software
└── GateError      the work was done and the result is not good enough

A message says what is wrong, with which value, and what to do about it. `exit_code` is what a command
line ends with: 2 when the user can mend the input, 1 when a gate, check or job failed. `brief` says the same to whoever
asks, without a path, a name or a secret; it is empty where nothing is worth telling.
"""

import os


class HousecastError(Exception):
    """Any error raised on purpose; `str(error)` is one readable line or short block."""

    exit_code = 1
    brief = ""

    def __init__(self, message: str = "", *, brief: str = "") -> None:
        super().__init__(message)
        self.brief = brief or self.brief


def why(error: OSError) -> str:
    """Say what the system answered, without the path that `str(error)` may hold."""
    return os.strerror(error.errno) if error.errno else type(error).__name__


class ConfigError(HousecastError):
    """A dataset YAML, a setting or an argument is wrong; names file, key and value."""

    exit_code = 2


class DataError(HousecastError):
    """The data do not match the config; names column, rule and example rows."""

    exit_code = 2


class InvalidRowsError(DataError):
    """Rows that cannot be priced; `problems` lists every one as (row number from 0, field, what is wrong)."""

    SHOWN = 5

    def __init__(self, problems: list[tuple[int, str, str]]) -> None:
        self.problems = problems
        lines = [f"row {row}: {field}: {what}" for row, field, what in problems[: self.SHOWN]]
        if len(problems) > self.SHOWN:
            lines.append(f"and {len(problems) - self.SHOWN:,} more")
        super().__init__("; ".join(lines))


class StoreError(HousecastError):
    """The model store cannot do what was asked, for example because another publisher won."""


class BundleError(HousecastError):
    """A model version is incomplete, altered, or needs other package versions."""

    brief = "the version is damaged"


class GateError(HousecastError):
    """A model or a job did not reach its threshold; names the line that failed."""
