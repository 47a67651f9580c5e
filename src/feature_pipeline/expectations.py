"""The Great Expectations suite of one split: what every dataset must hold, then what the config adds."""

import difflib
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

from src.core.config import DatasetConfig, Expectation
from src.core.errors import ConfigError
from src.core.sections import TimeSplit
from src.core.workspace import SPLITS

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation as GreatExpectation

# What a column's type is called by pandas, on which Great Expectations runs.
PANDAS_TYPES = {"number": "float64", "text": "str", "date": "datetime64"}
TABLE_RULES = ("expect_column_to_exist", "expect_column_values_to_be_of_type", "expect_table_row_count_to_be_between")
COLUMN_ARGS = ("column", "column_A", "column_B", "column_list")


@dataclass(frozen=True)
class Rule:
    """One expectation, ready to run."""

    where: str  # the YAML entry, or "every dataset"
    name: str
    severity: str
    args: dict[str, Any]
    expectation: "GreatExpectation"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the rule reads; none for a rule about the table."""
        named = [self.args[key] for key in COLUMN_ARGS if key in self.args]
        return tuple(column for value in named for column in ([value] if isinstance(value, str) else value))

    @property
    def limits(self) -> str:
        """The rule's arguments but its columns, for messages."""
        limits = {key: value for key, value in self.args.items() if key not in COLUMN_ARGS}
        return ", ".join(f"{key} {_short(value)}" for key, value in limits.items())


def _short(value: Any) -> str:
    if isinstance(value, datetime):
        return str(value.date())
    text = f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def rules(config: DatasetConfig, split: str) -> list[Rule]:
    """Build a split's rules: columns, types, what put rows into it, a target in every row; then the config's own.

    Raises:
        ConfigError: an entry of `expectations` has an unknown rule, wrong arguments or an unknown column.
    """
    if split not in SPLITS:
        raise ConfigError(f"no split {split!r}; the splits are {', '.join(SPLITS)}")
    found = [_automatic("expect_table_row_count_to_be_between", min_value=1)]
    for column, kind in config.columns.items():
        found.append(_automatic("expect_column_to_exist", column=column))
        found.append(_automatic("expect_column_values_to_be_of_type", column=column, type_=PANDAS_TYPES[kind.type]))
    if isinstance(config.split, TimeSplit):
        found.append(_window(config.split, split))
    needed = [config.split.column] if isinstance(config.split, TimeSplit) else config.drawn_by
    complete = dict.fromkeys((*needed, config.target.column))
    found += [_automatic("expect_column_values_to_not_be_null", column=column) for column in complete]
    seen = [(rule.name, rule.args) for rule in found]
    for position, entry in enumerate(config.expectations):
        own = _own(entry, f"expectations[{position}]", config)
        if (own.name, own.args) not in seen:
            found.append(own)
    return found


def monthly_rules(config: DatasetConfig) -> list[Rule]:
    """Build the rules of one month's raw rows: what a price needs, its types and required values; the config's own.

    A month has no window but its own, fewer rows than a file, and its target may not be known yet: what is asked of
    those is left out (ConfigError as `rules`).
    """
    found = []
    for column in config.raw_inputs:
        kind = config.columns[column]
        found.append(_automatic("expect_column_to_exist", column=column))
        found.append(_automatic("expect_column_values_to_be_of_type", column=column, type_=PANDAS_TYPES[kind.type]))
        if kind.required:
            found.append(_automatic("expect_column_values_to_not_be_null", column=column))
    seen = [(rule.name, rule.args) for rule in found]
    for position, entry in enumerate(config.expectations):
        own = _own(entry, f"expectations[{position}]", config)
        of_table = own.name.startswith("expect_table_")
        told = own.columns == (config.target.column,) and own.name == "expect_column_values_to_not_be_null"
        if not of_table and not told and (own.name, own.args) not in seen:
            found.append(own)
    return found


def _window(rule: TimeSplit, split: str) -> Rule:
    window: dict[str, dict[str, Any]] = {
        "train": {"max_value": rule.eval_from, "strict_max": True},
        "eval": {"min_value": rule.eval_from, "max_value": rule.holdout_from, "strict_max": True},
        "holdout": {"min_value": rule.holdout_from},
    }
    return _automatic("expect_column_values_to_be_between", column=rule.column, **window[split])


def _automatic(name: str, **args: Any) -> Rule:
    return _rule("every dataset", Expectation(rule=name, args=args))


def _own(entry: Expectation, where: str, config: DatasetConfig) -> Rule:
    rule = _rule(f"configs of {config.name}: {where}", entry)
    for column in rule.columns:
        if column not in config.columns:
            near = difflib.get_close_matches(column, config.columns, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f" (columns: {', '.join(config.columns)})"
            raise ConfigError(f"{rule.where}: {entry.rule}: no column {column!r}{hint}")
    return rule


def _rule(where: str, entry: Expectation) -> Rule:
    from great_expectations.exceptions.exceptions import ExpectationNotFoundError
    from great_expectations.expectations.metadata_types import FailureSeverity
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        list_registered_expectation_implementations,
    )
    from pydantic.v1 import ValidationError

    args = {key: _moment(value) for key, value in entry.args.items()}
    try:
        expectation = get_expectation_impl(entry.rule)(**args, severity=FailureSeverity(entry.severity))
    except ExpectationNotFoundError as error:
        near = difflib.get_close_matches(entry.rule, list_registered_expectation_implementations(), 3)
        hint = f"; near it: {', '.join(near)}" if near else ""
        raise ConfigError(f"{where}: no rule {entry.rule!r} in Great Expectations{hint}") from error
    except (ValidationError, TypeError) as error:
        problems = error.errors() if isinstance(error, ValidationError) else [{"loc": ("args",), "msg": str(error)}]
        text = "; ".join(f"{'.'.join(map(str, p['loc'])).replace('__root__', 'args')}: {p['msg']}" for p in problems)
        raise ConfigError(f"{where}: {entry.rule}: {text} (got {entry.args})") from error
    return Rule(where, entry.rule, entry.severity, args, expectation)


def _moment(value: Any) -> Any:
    # A date column is datetime64 in pandas, which does not compare with a plain date.
    return datetime.combine(value, time()) if type(value) is date else value
