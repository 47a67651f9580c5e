"""Every check of the template, for everything that the stack may be asked to be."""

from collections.abc import Callable

from tests.infra import stack_access_checks, stack_edge_checks, stack_task_checks
from tests.infra.stack_template import VARIANTS, Stack, Template, resolve

CHECKS: dict[str, Callable[[Stack], list[str]]] = {
    name.removeprefix("check_"): check
    for module in (stack_access_checks, stack_edge_checks, stack_task_checks)
    for name, check in vars(module).items()
    if name.startswith("check_")
}


def findings(template: Template, *names: str) -> list[tuple[str, str]]:
    """Return what the checks of these names, or all, find in any variant: name and words."""
    stacks = [resolve(template, given) for given in VARIANTS.values()]
    return sorted({(name, said) for stack in stacks for name in names or CHECKS for said in CHECKS[name](stack)})
