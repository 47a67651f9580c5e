"""Rendered Kubernetes manifests, and how to find one's way in them."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from src.core.config import PROJECT
from tests.infra.dockerfile import IMAGES, Container
from tests.system_parts import require_program

Document = dict[str, Any]
NAMESPACE = "housecast"


@cache
def rendered(overlay: str) -> str:
    """Return what `kubectl apply -k` sends to a cluster."""
    command = [
        require_program("kubectl", "kubectl"),
        "kustomize",
        str(PROJECT / "infra" / "k8s" / "overlays" / overlay),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "no deprecated fields"
    return done.stdout


def manifests(overlay: str) -> list[Document]:
    """Return a copy of an overlay's documents that the caller may change."""
    return list(yaml.safe_load_all(rendered(overlay)))


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    return [one for one in documents if one["kind"] == kind]


def named(documents: list[Document], kind: str, name: str) -> Document:
    """Return the one document; a generated name matches without its hash."""
    (found,) = [
        one for one in of_kind(documents, kind) if re.sub(r"-[a-z0-9]{10}$", "", one["metadata"]["name"]) == name
    ]
    return found


@dataclass(frozen=True)
class Pod:
    """The template of a workload's pods; each has one container."""

    kind: str
    name: str
    workload: Document  # the spec around the template
    template: Document

    @property
    def labels(self) -> dict[str, str]:
        return self.template["metadata"]["labels"]

    @property
    def spec(self) -> Document:
        return self.template["spec"]

    @property
    def container(self) -> Document:
        (only,) = self.spec["containers"]
        return only

    @property
    def image(self) -> str:
        """The image's name without registry and tag."""
        return self.container["image"].rpartition("/")[2].partition(":")[0]

    @property
    def ours(self) -> Container | None:
        """What the Dockerfile says, of an image that the project makes."""
        return Container.of(self.image) if self.image in IMAGES else None

    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.container.get("ports", [])}

    def environment(self, documents: list[Document]) -> dict[str, str | None]:
        """Return what the container gets: a ConfigMap's or its own value, None for a Secret's."""
        given: dict[str, str | None] = {}
        maps = {one["metadata"]["name"]: one["data"] for one in of_kind(documents, "ConfigMap")}
        for source in self.container.get("envFrom", []):
            given |= maps.get(source.get("configMapRef", {}).get("name"), {})
        return given | {one["name"]: one.get("value") for one in self.container.get("env", [])}


def pods(documents: list[Document]) -> Iterator[Pod]:
    for one in documents:
        spec = one.get("spec", {})
        if one["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if one["kind"] in {"Deployment", "Job", "CronJob"}:
            yield Pod(one["kind"], one["metadata"]["name"], spec, spec["template"])


def selects(selector: Document, labels: dict[str, str]) -> bool:
    """Tell whether a label selector, with `matchLabels` and `In`, picks what has these labels."""
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    rules = selector.get("matchExpressions", [])
    assert all(rule["operator"] == "In" for rule in rules), "the others are not understood here"
    return wanted and all(labels.get(rule["key"]) in rule["values"] for rule in rules)
