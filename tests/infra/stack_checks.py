"""Every check of the template, for everything that the stack may be asked to be."""

from collections.abc import Callable, Iterable

from tests.infra import stack_access_checks, stack_edge_checks, stack_task_checks
from tests.infra.stack_template import VARIANTS, Stack, Template, resolve

CHECKS: dict[str, Callable[[Stack], list[str]]] = {
    name.removeprefix("check_"): check
    for module in (stack_access_checks, stack_edge_checks, stack_task_checks)
    for name, check in vars(module).items()
    if name.startswith("check_")
}


def findings(template: Template, names: Iterable[str] = CHECKS, variants: Iterable[str] = VARIANTS) -> list[str]:
    """Return what the checks of these names find in these variants, each once."""
    stacks = [resolve(template, VARIANTS[variant]) for variant in variants]
    return sorted({said for stack in stacks for name in names for said in CHECKS[name](stack)})
