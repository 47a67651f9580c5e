"""`infra/deploy.py` in an account of moto's: what it deploys, and what it takes back.

moto does not see that a task definition changes with a parameter that `Fn::Sub` takes in, so what is deployed is read
from the stack's parameter.
"""

import json
from pathlib import Path
from typing import Any

import moto.cloudformation.models
import pytest

from infra import deploy
from tests.infra.conftest import Connect, empty
from tests.infra.stack_template import load
from tests.infra.test_stack_made import for_moto

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse .* but it's not supported by moto")

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template with the services, as moto takes it."""
    path = tmp_path_factory.mktemp("template") / "stack.json"
    path.write_text(json.dumps(for_moto({"ImageTag": OLD})))
    return path


@pytest.fixture
def stack(aws: Connect, moto_url: str, template: Path) -> Any:
    """A stack that runs the old images, made as docs/deploy.md says; the new ones are pushed."""
    empty(moto_url)
    client = aws("cloudformation")
    client.create_stack(
        StackName="housecast",
        TemplateBody=json.dumps(for_moto({})),
        Parameters=[{"ParameterKey": "ApiMinTasks", "ParameterValue": "1"}],
    )
    for name in ("housecast/api", "housecast/dashboard"):
        for tag in (OLD, NEW):
            manifest = json.dumps(
                {"schemaVersion": 2, "mediaType": MANIFEST, "config": {"digest": f"{name}{tag}"}, "layers": []}
            )
            aws("ecr").put_image(repositoryName=name, imageTag=tag, imageManifest=manifest)
    assert run("housecast", OLD, template) == 0
    return client


def run(stack: str, tag: str, template: Path, *options: str) -> int:
    return deploy.main([stack, tag, "--template", str(template), "--poll-seconds", "0", *options])


def parameters(client: Any) -> dict[str, str]:
    (stack,) = client.describe_stacks(StackName="housecast")["Stacks"]
    return {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}


def test_the_tag_moves_and_other_parameters_stay(
    stack: Any, aws: Connect, template: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parameters(stack)["ImageTag"] == OLD
    task = aws("ecs").describe_task_definition(taskDefinition="housecast-api")["taskDefinition"]
    assert task["containerDefinitions"][0]["image"].endswith(f"/housecast/api:{OLD}")
    assert run("housecast", NEW, template) == 0
    assert parameters(stack)["ImageTag"] == NEW
    assert parameters(stack)["ApiMinTasks"] == "1"
    assert f"housecast runs {NEW}: http://" in capsys.readouterr().err
    # Once more changes nothing.
    assert run("housecast", NEW, template) == 0


def test_an_environments_parameters_are_set(stack: Any, template: Path, tmp_path: Path) -> None:
    path = tmp_path / "production.json"
    path.write_text('{"Parameters": {"ApiMinTasks": "3"}}')
    assert run("housecast", NEW, template, "--parameters", str(path)) == 0
    assert parameters(stack)["ApiMinTasks"] == "3"
    assert parameters(stack)["ImageTag"] == NEW


def test_a_stack_that_does_not_pass_is_taken_back(
    stack: Any, aws: Connect, template: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []

    def fail(url: str, dataset: str) -> None:
        seen.append((parameters(stack)["ImageTag"], dataset))
        raise deploy.DeployError("it does not pass")

    monkeypatch.setattr(deploy, "smoke", fail)
    assert run("housecast", NEW, template, "--smoke") == 1
    assert seen == [(NEW, "housets")]
    assert parameters(stack)["ImageTag"] == OLD
    said = capsys.readouterr().err
    assert f"it does not pass\ndeploy: taking housecast back to {OLD}" in said


def test_services_that_do_not_become_steady_are_taken_back(
    stack: Any, aws: Connect, template: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (cluster,) = aws("ecs").list_clusters()["clusterArns"]
    aws("ecs").delete_service(cluster=cluster, service="housecast-api", force=True)
    assert run("housecast", NEW, template, "--seconds", "0") == 1
    assert "not steady after 0 s: housecast-api" in capsys.readouterr().err
    assert parameters(stack)["ImageTag"] == OLD


def test_what_cloudformation_takes_back_is_told_with_the_reasons(
    stack: Any, template: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(self: Any, *given: Any, **named: Any) -> None:
        # moto never takes an update back; this is what an account says when the circuit breaker opens.
        self.status = "UPDATE_ROLLBACK_COMPLETE"
        self._add_stack_event("UPDATE_ROLLBACK_COMPLETE")
        self.events[-1].logical_resource_id, self.events[-1].resource_status = "ApiService", "UPDATE_FAILED"
        self.events[-1].resource_status_reason = "ECS Deployment Circuit Breaker was triggered"

    monkeypatch.setattr(moto.cloudformation.models.Stack, "update", fail)
    assert run("housecast", NEW, template) == 1
    said = capsys.readouterr().err
    assert "housecast is in UPDATE_ROLLBACK_COMPLETE; it runs what it ran before" in said
    assert "ApiService: ECS Deployment Circuit Breaker was triggered" in said


def test_an_image_that_was_not_pushed_changes_nothing(
    stack: Any, aws: Connect, template: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("housecast", "c" * 40, template) == 2
    assert f"housecast/api has no image {'c' * 40}: push it first" in capsys.readouterr().err
    assert parameters(stack)["ImageTag"] == OLD


def test_what_cannot_be_deployed_is_refused(aws: Connect, template: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("elsewhere", NEW, template) == 2
    assert "there is no stack elsewhere: docs/deploy.md makes one" in capsys.readouterr().err
    assert run("housecast", "latest", template) == 2
    assert "'latest' is not the SHA of a commit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("steady", "changed"),
    [
        (True, {}),
        (False, {"runningCount": 1}),
        (False, {"status": "DRAINING"}),
        (False, {"deployments": [{"rolloutState": "IN_PROGRESS"}]}),
        (False, {"deployments": [{"rolloutState": "COMPLETED"}, {"rolloutState": "IN_PROGRESS"}]}),
    ],
)
def test_a_service_is_steady_when_nothing_is_replaced_or_missing(steady: bool, changed: dict[str, Any]) -> None:
    service = {"status": "ACTIVE", "runningCount": 2, "desiredCount": 2, "deployments": [{"rolloutState": "COMPLETED"}]}
    assert deploy.is_steady({**service, **changed}) is steady


def test_the_templates_own_parameters_are_read() -> None:
    known = deploy.yaml.load((deploy.HERE / "stack.yaml").read_text(), Loader=deploy._WithoutTags)["Parameters"]
    assert list(known) == list(load()["Parameters"])
