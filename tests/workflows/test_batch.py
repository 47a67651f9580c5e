"""`infra/batch.py`: it starts what the rule starts, and ends as that does."""

from typing import Any

import moto.ecs.models
import pytest

from infra import batch
from tests.workflows.conftest import Connect

WITHOUT_WAITING = ("--poll-seconds", "0")


@pytest.fixture
def stack(aws: Connect) -> Any:
    """What the stack has for its batch: a cluster, a task and a rule that starts it."""
    ecs, ec2, events = aws("ecs"), aws("ec2"), aws("events")
    cluster = ecs.create_cluster(clusterName="homes")["cluster"]["clusterArn"]
    log = {"awslogs-group": "homes-batch", "awslogs-stream-prefix": "batch", "awslogs-region": "eu-central-1"}
    task = ecs.register_task_definition(
        family="homes-batch",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="1024",
        memory="3072",
        containerDefinitions=[
            {
                "name": "batch",
                "image": "homes/api:" + "b" * 40,
                "memory": 512,
                "logConfiguration": {"logDriver": "awslogs", "options": log},
            }
        ],
    )["taskDefinition"]["taskDefinitionArn"]
    network = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=network, EnableDnsHostnames={"Value": True})
    subnet = ec2.create_subnet(VpcId=network, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="batch", Description="batch", VpcId=network)["GroupId"]
    events.put_rule(Name="homes-batch", ScheduleExpression="cron(0 6 1 * ? *)")
    where = {"Subnets": [subnet], "SecurityGroups": [group], "AssignPublicIp": "ENABLED"}
    how = {
        "TaskDefinitionArn": task,
        "TaskCount": 1,
        "LaunchType": "FARGATE",
        "NetworkConfiguration": {"awsvpcConfiguration": where},
    }
    role = "arn:aws:iam::123456789012:role/events"
    events.put_targets(
        Rule="homes-batch", Targets=[{"Id": "batch", "Arn": cluster, "RoleArn": role, "EcsParameters": how}]
    )
    return ecs


def ending(monkeypatch: pytest.MonkeyPatch, code: int | None, why: str = "") -> None:
    """Have the batch end so."""
    known = moto.ecs.models.Container.__init__

    def made(self: Any, *given: Any) -> None:
        known(self, *given)
        self.exitCode, self.reason = code, why

    monkeypatch.setattr(moto.ecs.models.Container, "__init__", made)


def only_task(ecs: Any) -> dict[str, Any]:
    (arn,) = ecs.list_tasks(cluster="homes")["taskArns"]
    (task,) = ecs.describe_tasks(cluster="homes", tasks=[arn])["tasks"]
    return dict(task)


def test_it_starts_the_rules_task_and_waits_for_its_end(stack: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert batch.main(["homes", *WITHOUT_WAITING]) == 0
    task = only_task(stack)
    assert task["lastStatus"] == "STOPPED"
    assert task["launchType"] == "FARGATE"
    assert task["overrides"].get("containerOverrides", []) == []
    said = capsys.readouterr().err
    assert f"homes-batch batch/batch/{task['taskArn'].rsplit('/', 1)[1]}" in said
    assert "ended with exit code 0" in said


def test_another_data_set_is_another_command(stack: Any) -> None:
    assert batch.main(["homes", "--dataset", "iris", *WITHOUT_WAITING]) == 0
    (changed,) = only_task(stack)["overrides"]["containerOverrides"]
    assert changed == {"name": "batch", "command": ["python", "-m", "src.batch.run_monthly", "--dataset", "iris"]}


@pytest.mark.parametrize("code", [1, 2, 137])
def test_it_ends_as_the_batch_does(
    stack: Any, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ending(monkeypatch, code)
    assert batch.main(["homes", *WITHOUT_WAITING]) == code
    assert f"ended with exit code {code}" in capsys.readouterr().err


def test_a_batch_that_never_ran_has_failed(
    stack: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ending(monkeypatch, None, "CannotPullContainerError")
    assert batch.main(["homes", *WITHOUT_WAITING]) == 1
    assert "without an exit code: CannotPullContainerError" in capsys.readouterr().err


def test_a_batch_that_goes_on_too_long_is_told(stack: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert batch.main(["homes", "--seconds", "0", *WITHOUT_WAITING]) == 1
    assert "after 0 s, and goes on" in capsys.readouterr().err


def test_a_stack_without_a_batch_is_told(stack: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert batch.main(["palaces", *WITHOUT_WAITING]) == 1
    assert "there is no rule palaces-batch: deploy palaces first" in capsys.readouterr().err
