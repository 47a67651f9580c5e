"""Who may do what: the roles' and the bucket's policies, evaluated as IAM does, as moto does not simulate them."""

import re
from collections.abc import Iterator
from typing import Any

from tests.infra.stack_template import Stack

Statement = dict[str, Any]


def statements(stack: Stack, role: str) -> Iterator[Statement]:
    for policy in stack[role].get("Policies", ()):
        yield from policy["PolicyDocument"]["Statement"]


def allows(stack: Stack, role: str, action: str, resource: str, **context: str) -> bool:
    """Tell whether a role may do something; `context` has the condition keys with `_` for `:`."""
    return any(applies(one, action, resource, context) for one in statements(stack, role))


def applies(statement: Statement, action: str, resource: str, context: dict[str, str]) -> bool:
    return (
        any(_matches(one, action) for one in as_list(statement["Action"]))
        and any(_matches(one, resource) for one in as_list(statement["Resource"]))
        and _holds(statement.get("Condition", {}), context)
    )


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _matches(pattern: str, text: str) -> bool:
    # In IAM only * and ? are special, and * takes slashes.
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), text) is not None


def _holds(condition: dict[str, Any], context: dict[str, str]) -> bool:
    for operator, wanted in condition.items():
        assert operator in ("StringEquals", "ArnEquals", "Bool"), operator
        for key, value in wanted.items():
            if context.get(key.replace(":", "_")) not in as_list(value):
                return False
    return True
