"""docs/deploy.md against the template: the sums, the alarms, and whatever it names."""

import json
import os
import re
import subprocess
import sys

import pytest

from src.core.config import PROJECT, Settings
from tests.infra.conftest import Connect
from tests.infra.stack_template import GIVEN, Stack, load, resolve

TEXT = (PROJECT / "docs" / "deploy.md").read_text()
HOURS = 730
ROW = re.compile(
    r"^\| (?P<what>[^|]+) \| (?P<quantity>[\d.]*) ?\| (?P<price>[\d.]*) ?\| \**(?P<month>[\d.]+)\** \|$", re.MULTILINE
)


@pytest.fixture
def stack() -> Stack:
    return resolve(load(), GIVEN)


def section(title: str) -> str:
    """Return the text from a title, or from a sentence, to the next title."""
    return TEXT[TEXT.index(title) + len(title) :].split("\n## ")[0]


def table(after: str) -> list[re.Match[str]]:
    block = section(after).split("|---|---|---|---|\n", 1)[1].split("\n\n")[0]
    found = list(ROW.finditer(block))
    assert len(found) == len(block.splitlines())
    return found


def test_each_line_is_its_quantity_times_its_price_and_the_sums_are_right() -> None:
    for start in ("## What it costs", "With `Database=postgres` in addition:", "would cost instead"):
        *lines, last = table(start)
        counted = [*lines, last] if last["quantity"] else lines
        for line in counted:
            assert round(float(line["quantity"]) * float(line["price"]) + 1e-9, 2) == float(line["month"]), line["what"]
        if not last["quantity"]:
            assert round(sum(float(line["month"]) for line in lines), 2) == float(last["month"])


def test_the_quantities_are_the_templates(stack: Stack) -> None:
    said = {line["what"].split(" (")[0]: line["quantity"] for line in table("## What it costs") if line["quantity"]}

    def hours(task: str, size: str, tasks: int = 1) -> float:
        return int(stack[task][size]) / 1024 * HOURS * tasks

    least = stack["ApiScaling"]["MinCapacity"]
    policies = stack.of_type("ApplicationAutoScaling::ScalingPolicy")
    wanted = {
        "API tasks: vCPU-hours": hours("ApiTask", "Cpu", least),
        "API tasks: GB-hours": hours("ApiTask", "Memory", least),
        "dashboard task: vCPU-hours": hours("DashboardTask", "Cpu"),
        "dashboard task: GB-hours": hours("DashboardTask", "Memory"),
        "batch, an hour a month: vCPU-hours": hours("BatchTask", "Cpu") / HOURS,
        "batch: GB-hours": hours("BatchTask", "Memory") / HOURS,
        "public IPv4 addresses: hours": (least + 1 + len(stack["Balancer"]["Subnets"])) * HOURS,
        "S3: 1,000 lists": least * HOURS * 3600 / Settings().sync_seconds / 1000,
        "alarms": len(stack.of_type("CloudWatch::Alarm")),
        "alarms that scaling makes": 2 * len(policies),
        "secrets": len(stack.of_type("SecretsManager::Secret")),
    }
    assert {name: float(said[name]) for name in wanted} == wanted
    full = resolve(load(), {**GIVEN, "Database": "postgres"})
    assert full["DatabaseInstance"]["AllocatedStorage"] == "20"
    assert len(full.of_type("SecretsManager::Secret")) == len(stack.of_type("SecretsManager::Secret")) + 2


def test_what_staging_saves_is_one_task_of_the_api() -> None:
    lines = {line["what"].split(" (")[0]: float(line["month"]) for line in table("## What it costs")}
    task = (lines["API tasks: vCPU-hours"] + lines["API tasks: GB-hours"]) / 2
    address = lines["public IPv4 addresses: hours"] / 5
    looks = (lines["S3: 1,000 lists"] + lines["S3: 1,000 reads"]) / 2
    assert f"{task + 1e-9:.2f} + {address:.2f} + {looks:.2f} less" in TEXT
    given = json.loads((PROJECT / "infra" / "parameters" / "staging.json").read_text())["Parameters"]
    assert given["ApiMinTasks"] == "1"


def test_the_comment_in_the_template_has_the_same_costs() -> None:
    comment = re.search(r"# --- Network\.(.*?)\n  Vpc:", (PROJECT / "infra" / "stack.yaml").read_text(), re.DOTALL)
    assert comment
    amounts = re.findall(r"\$([\d.]+\d)", comment[1])
    assert amounts == ["3.65", "32.85", "58.40"]
    assert all(amount in TEXT for amount in amounts)


def test_every_alarm_is_in_the_runbook(stack: Stack) -> None:
    told = {one["AlarmName"] for one in stack.of_type("CloudWatch::Alarm").values()}
    told |= {
        rule["Name"]
        for rule in stack.of_type("Events::Rule").values()
        if "AlarmTopic" in [one["Arn"] for one in rule["Targets"]]
    }
    rows = re.findall(r"^\| `([^`]+)` \|", section("## Alarms"), re.MULTILINE)
    assert sorted(rows) == sorted(name.removeprefix("housecast-") for name in told)


def test_what_the_text_names_is_there(stack: Stack) -> None:
    template = load()
    assert set(re.findall(r"\$\(out (\w+)", TEXT)) <= set(stack.outputs)
    names = set(re.findall(r"`([A-Z][a-z]+[A-Z]\w+)(?:=\w+)?`", TEXT))
    assert names <= set(template["Parameters"]) | set(template["Outputs"]), names
    for path in re.findall(r"infra/[\w/.]+\w", TEXT):
        assert (PROJECT / path).exists(), path
    for script in ("deploy.py", "smoke.py"):
        assert os.access(PROJECT / "infra" / script, os.X_OK)
    images = json.loads(stack["ApiRepository"]["LifecyclePolicy"]["LifecyclePolicyText"])["rules"][1]
    assert f"the newest {images['selection']['countNumber']} images are kept" in TEXT
    (rule, _) = stack["Bucket"]["LifecycleConfiguration"]["Rules"]
    assert f"old versions for {rule['NoncurrentVersionExpiration']['NoncurrentDays']} days" in " ".join(TEXT.split())


def test_the_shell_understands_the_commands() -> None:
    blocks = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        run = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
        assert (run.returncode, run.stderr) == (0, "")


def test_the_bucket_is_lost_with_every_version_of_every_object(aws: Connect) -> None:
    (command,) = re.findall(r"python -c '(.*)' BUCKET", TEXT)
    s3 = aws("s3")
    s3.create_bucket(Bucket="lost", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_bucket_versioning(Bucket="lost", VersioningConfiguration={"Status": "Enabled"})
    for body in (b"one", b"two"):
        s3.put_object(Bucket="lost", Key="models/a", Body=body)
    s3.delete_object(Bucket="lost", Key="models/a")
    subprocess.run([sys.executable, "-c", command, "lost"], check=True)
    assert "lost" not in [one["Name"] for one in s3.list_buckets()["Buckets"]]
