"""`infra/k8s`: both overlays pass every check, and each check finds what somebody might break."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.testclient import TestClient

from src.api.app import create_app
from src.core.config import PROJECT, Settings
from tests.infra import k8s_checks, k8s_network
from tests.infra.dockerfile import IMAGES, Container
from tests.infra.k8s_broken import API, BROKEN, CUT, POD, break_field
from tests.infra.k8s_manifests import manifests, named, pods, rendered

OVERLAYS = sorted(path.name for path in (PROJECT / "infra" / "k8s" / "overlays").iterdir())
CHECKS: dict[str, Callable[..., list[str]]] = {
    name: getattr(module, name)
    for module, names in {
        k8s_checks: ["security", "resources", "probes", "settings", "references", "rollout", "batch", "commands"],
        k8s_network: ["services", "ingresses"],
    }.items()
    for name in names
}
EVERY = pytest.mark.parametrize("overlay", OVERLAYS)


@EVERY
def test_the_cluster_would_take_it(overlay: str) -> None:
    assert k8s_checks.schema(manifests(overlay)) == []


@EVERY
@pytest.mark.parametrize("check", CHECKS)
def test_it_is_as_it_should_be(overlay: str, check: str) -> None:
    assert CHECKS[check](manifests(overlay)) == []


@EVERY
def test_what_must_connect_does_and_nothing_else(overlay: str) -> None:
    assert k8s_network.policies(manifests(overlay), k8s_network.ENTRIES[overlay]) == []


def test_the_probes_ask_what_the_images_answer(tmp_path: Path) -> None:
    api = TestClient(create_app(Settings(workspace=tmp_path)))
    assert api.get(k8s_checks.LIVE).status_code == 200
    assert api.get(k8s_checks.READY).status_code == 503, "no model yet"
    assert [Container.of(image).health for image in IMAGES] == [k8s_checks.READY, k8s_checks.DASHBOARD]


def test_a_changed_setting_starts_new_pods() -> None:
    names = {overlay: named(manifests(overlay), "ConfigMap", "settings")["metadata"]["name"] for overlay in OVERLAYS}
    assert len(set(names.values())) == len(OVERLAYS), "the name holds a hash of the settings"


def test_both_ways_of_running_make_the_bucket_alike() -> None:
    compose = yaml.safe_load((PROJECT / "compose.yaml").read_text())["services"]
    (job,) = (pod for pod in pods(manifests("local")) if pod.kind == "Job")
    assert job.container["command"] == compose["bucket"]["command"]
    (minio,) = (pod for pod in pods(manifests("local")) if pod.name == "minio")
    assert minio.container["image"] == compose["minio"]["image"]
    assert minio.container["args"] == compose["minio"]["command"]


def test_documented_commands_name_what_there_is() -> None:
    said = (PROJECT / "docs" / "run.md").read_text()
    there = {(one["kind"].lower(), one["metadata"]["name"]) for overlay in OVERLAYS for one in manifests(overlay)}
    for path in re.findall(r"infra/k8s/[\w./-]+\w", said):
        assert (PROJECT / path).exists(), path
    for overlay in re.findall(r"overlays/(\w+)", said):
        assert overlay in OVERLAYS
    named_there = re.findall(r"(service|cronjob)/([\w-]+)", said)
    assert named_there
    assert set(named_there) <= there
    for image in re.findall(r"docker build -t ([\w-]+):dev", said):
        assert image in IMAGES
        assert f"image: {image}:dev" in rendered("local")


def test_the_load_balancer_asks_what_the_probes_ask() -> None:
    documents = manifests("production")
    by_pod = {pod.name: pod.container["readinessProbe"]["httpGet"]["path"] for pod in pods(documents) if pod.ports()}
    group = "alb.ingress.kubernetes.io"
    api, dashboard = (named(documents, "Ingress", name)["metadata"]["annotations"] for name in ("api", "dashboard"))
    assert [one[f"{group}/healthcheck-path"] for one in (api, dashboard)] == [by_pod["api"], by_pod["dashboard"]]
    assert api[f"{group}/group.name"] == dashboard[f"{group}/group.name"], "one load balancer"
    assert int(dashboard[f"{group}/group.order"]) < int(api[f"{group}/group.order"]), "the narrower path first"
    sticky = [
        f"{group}/target-group-attributes" in one and "stickiness" in one[f"{group}/target-group-attributes"]
        for one in (api, dashboard)
    ]
    assert sticky == [False, True], "a visitor's page, files and uploads are at one pod"
    assert {*api} == {*dashboard}


@EVERY
def test_the_secrets_are_documented_and_are_all(overlay: str) -> None:
    used = {
        one["valueFrom"]["secretKeyRef"]["name"]
        for pod in pods(manifests(overlay))
        for one in pod.container.get("env", [])
        if "valueFrom" in one
    }
    assert used == set(k8s_checks.DOCUMENTED) - ({"housecast-s3"} if overlay == "production" else set())


@pytest.mark.parametrize(("check", "kind", "name", "path", "value", "finding"), BROKEN)
def test_a_broken_copy_is_found(check: str, kind: str, name: str, path: str, value: Any, finding: str) -> None:
    documents = manifests("local")
    break_field(named(documents, kind, name), path, value)
    assert [said for said in CHECKS[check](documents) if finding in said], CHECKS[check](documents)


@EVERY
@pytest.mark.parametrize(("name", "path", "value", "finding"), CUT)
def test_a_cut_or_open_connection_is_found(overlay: str, name: str, path: str, value: Any, finding: str) -> None:
    documents = manifests(overlay)
    break_field(named(documents, "NetworkPolicy", name), path, value)
    found = k8s_network.policies(documents, k8s_network.ENTRIES[overlay])
    assert [said for said in found if finding in said], found


@pytest.mark.parametrize("path", [f"{API}.livenesProbe", "spec.replica", f"{POD}.securityContext.runAsuser"])
def test_a_misspelt_field_is_found(path: str) -> None:
    documents = manifests("production")
    break_field(named(documents, "Deployment", "api"), path, 1)
    assert any("unexpected" in said for said in k8s_checks.schema(documents))
