"""The CloudFormation template as Python: loaded, and resolved for given parameters.

moto makes real objects of most of the template (`test_stack_made.py`), but drops half of a task definition and of a
service. So what is checked of them is read from the template itself. A resource stands for its own name here:
`Ref: Bucket` is `Bucket`, and `${Bucket.Arn}/models/*` is `Bucket.Arn/models/*`.
"""

import re
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from src.core.config import PROJECT

STACK = PROJECT / "infra" / "stack.yaml"
PSEUDO = {
    "AWS::AccountId": "ACCOUNT",
    "AWS::Partition": "aws",
    "AWS::Region": "REGION",
    "AWS::StackId": "STACK-ID",
    "AWS::StackName": "housecast",
}
GIVEN = {
    "ImageTag": "0123456789abcdef0123456789abcdef01234567",
}
CERTIFIED = {"CertificateArn": "CERTIFICATE", "DomainName": "homes.example.org"}
GIVEN_NETWORK = {"VpcId": "vpc-1", "SubnetIds": "subnet-1,subnet-2"}
# What the stack may be asked to be; every check holds for each of them.
VARIANTS: dict[str, dict[str, str]] = {
    "first": {},
    "plain": GIVEN,
    "database": {**GIVEN, "Database": "postgres"},
    "certificate": {**GIVEN, **CERTIFIED},
    "given network": {**GIVEN, **GIVEN_NETWORK},
    "everything": {
        **GIVEN,
        **CERTIFIED,
        **GIVEN_NETWORK,
        "TaskSubnetIds": "subnet-3,subnet-4",
        "Database": "postgres",
        "BundlePublicKey": "ab" * 32,
        "AlarmEmail": "ops@example.org",
        "GitHubProviderArn": "PROVIDER",
        "GitHubRepository": "owner/housecast",
    },
}
NOTHING = object()
Template = dict[str, Any]
Resource = dict[str, Any]


class _Loader(yaml.CSafeLoader):
    """YAML with CloudFormation's short forms, `!Ref` for `Ref:`."""


def _long_form(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt":
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _long_form)


@cache
def _read() -> Template:
    made: Template = yaml.load(STACK.read_text(), Loader=_Loader)
    return made


def load() -> Template:
    """Return a copy of the stack's template, to be changed at will."""
    return deepcopy(_read())


@dataclass(frozen=True)
class Stack:
    """What the template says for one set of parameters; a reference to what is not there is a KeyError."""

    resources: dict[str, Resource]
    outputs: dict[str, Any]
    parameters: dict[str, Any]

    def of_type(self, kind: str) -> dict[str, Resource]:
        """Return the properties of every resource of a type, by name."""
        return {name: one["Properties"] for name, one in self.resources.items() if one["Type"] == f"AWS::{kind}"}

    def __getitem__(self, name: str) -> Resource:
        properties: Resource = self.resources[name]["Properties"]
        return properties

    def __contains__(self, name: str) -> bool:
        return name in self.resources

    def container(self, task: str) -> Resource:
        (found,) = self[task]["ContainerDefinitions"]
        return dict(found)


def resolve(template: Template, given: dict[str, str]) -> Stack:
    """Resolve conditions and references."""
    chosen = choose(template, given)
    resolver = _References(set(chosen["Resources"]), parameters_of(template, given))
    resources = {
        name: {**one, "Properties": resolver.value(one.get("Properties", {}), name)}
        for name, one in chosen["Resources"].items()
    }
    outputs = {name: resolver.value(one["Value"], name) for name, one in chosen["Outputs"].items()}
    return Stack(resources, outputs, resolver.parameters)


def choose(template: Template, given: dict[str, str]) -> Template:
    """Return the template without what its conditions rule out, and without conditions."""
    conditions = _Conditions(template["Conditions"], parameters_of(template, given))
    made: Template = deepcopy(template)
    for part in ("Resources", "Outputs"):
        made[part] = {name: one for name, one in made[part].items() if conditions.hold(one.pop("Condition", None))}
    return {**conditions.chosen(made), "Conditions": {}}


def parameters_of(template: Template, given: dict[str, str]) -> dict[str, Any]:
    unknown = set(given) - set(template["Parameters"])
    assert not unknown, f"no parameters of the template: {unknown}"
    return {
        name: _typed(one["Type"], given.get(name, one.get("Default"))) for name, one in template["Parameters"].items()
    }


class _Conditions:
    def __init__(self, conditions: dict[str, Any], parameters: dict[str, Any]) -> None:
        self._conditions = conditions
        self._references = _References(set(), parameters)

    def hold(self, condition: Any) -> bool:
        if condition is None:
            return True
        if isinstance(condition, str):
            return self.hold(self._conditions[condition])
        ((how, what),) = condition.items()
        match how:
            case "Condition":
                return self.hold(what)
            case "Fn::Not":
                return not self.hold(what[0])
            case "Fn::And":
                return all(self.hold(one) for one in what)
            case "Fn::Equals":
                first, second = (self._references.value(one, "a condition") for one in what)
                return bool(first == second)
        raise NotImplementedError(how)

    def chosen(self, node: Any) -> Any:
        if isinstance(node, list):
            return [one for one in map(self.chosen, node) if one is not NOTHING]
        if not isinstance(node, dict):
            return node
        if set(node) == {"Fn::If"}:
            condition, yes, no = node["Fn::If"]
            return self.chosen(yes if self.hold(condition) else no)
        if node == {"Ref": "AWS::NoValue"}:
            return NOTHING
        return {key: made for key, one in node.items() if (made := self.chosen(one)) is not NOTHING}


class _References:
    def __init__(self, there: set[str], parameters: dict[str, Any]) -> None:
        self.there, self.parameters = there, parameters

    def value(self, node: Any, where: str) -> Any:
        if isinstance(node, list):
            return [self.value(one, where) for one in node]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((how, what),) = node.items()
            match how:
                case "Ref":
                    return self._reference(what, where)
                case "Fn::GetAtt":
                    return self._attribute(*what, where)
                case "Fn::Sub":
                    return re.sub(r"\$\{([^}]+)\}", lambda found: self._substitute(found[1], where), what)
                case "Fn::Join":
                    return what[0].join(self.value(what[1], where))
                case "Fn::Select":
                    return self.value(what[1], where)[what[0]]
                case "Fn::GetAZs":
                    return ["zone-1", "zone-2"]
        return {key: self.value(one, where) for key, one in node.items()}

    def _substitute(self, name: str, where: str) -> str:
        if "." in name:
            return self._attribute(*name.split(".", 1), where)
        return str(self._reference(name, where))

    def _reference(self, name: str, where: str) -> Any:
        if name in PSEUDO:
            return PSEUDO[name]
        return self.parameters[name] if name in self.parameters else self._present(name, where)

    def _attribute(self, name: str, what: str, where: str) -> str:
        return f"{self._present(name, where)}.{what}"

    def _present(self, name: str, where: str) -> str:
        if name not in self.there:
            raise KeyError(f"{where} refers to {name}, which is not there")
        return name


def attributes(resource: Resource) -> dict[str, str]:
    """Return the attributes of a balancer or a target group."""
    kinds = ("LoadBalancerAttributes", "TargetGroupAttributes")
    return {one["Key"]: one["Value"] for kind in kinds for one in resource.get(kind, ())}


def _typed(kind: str, value: Any) -> Any:
    if kind == "CommaDelimitedList":
        return value.split(",")
    return int(value) if kind == "Number" else value
