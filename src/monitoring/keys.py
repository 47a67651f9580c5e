"""What joins a prediction to what came true: the config's keys but the date, and the month."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from src.core.config import DatasetConfig


def names_of(config: DatasetConfig) -> tuple[str, ...]:
    """Return the columns whose values tell homes or places apart within a month."""
    return tuple(name for name in config.keys if name != config.date)


def key_of(row: Mapping[str, Any], config: DatasetConfig, names: Sequence[str]) -> str | None:
    """Return the values of `names` as a JSON list; None where the data set has no keys, or the row lacks one.

    Codes are as long as they should be: 2139 and "2139" are "02139".
    """
    if not names:
        return None
    values = [_spelled(row.get(name), config.columns[name].pad) for name in names]
    return None if None in values else to_json(values).decode()


def _spelled(value: Any, pad: int | None) -> Any:
    if value is None or pad is None:
        return value
    return str(value).strip(" ").removesuffix(".0").zfill(pad)


def month_of(row: Mapping[str, Any], config: DatasetConfig) -> str | None:
    """Return the month of a row's date, YYYY-MM; None without a date."""
    value = row.get(config.date) if config.date else None
    return str(value)[:7] if value else None
