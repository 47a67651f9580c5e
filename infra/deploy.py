#!/usr/bin/env python3
"""Deploy the images of a commit to a stack: update it, wait until its services are steady, and try it.

Whatever fails is taken back: ECS returns to the tasks before when the new ones do not become ready, CloudFormation to
the stack before, and this command to both where the stack is up but does not pass infra/smoke.py (--smoke; needs
API_KEY). Needs boto3 and PyYAML. Exit codes: 0 deployed, 1 failed, with the reasons, 2 the arguments are wrong.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.exceptions import BotoCoreError, ClientError

HERE = Path(__file__).parent
REPOSITORIES = ("ApiRepositoryUri", "DashboardRepositoryUri")
SERVICES = ("api", "dashboard")
TAG = re.compile(r"[0-9a-f]{7,64}")


class DeployError(Exception):
    """What went wrong."""


class MisuseError(DeployError):
    """What is wrong with what was asked for."""


class Deployment:
    """One stack, and how it was before."""

    def __init__(self, name: str, poll_seconds: float = 5, longest_seconds: float = 3600) -> None:
        self.name = name
        self.poll_seconds, self.longest_seconds = poll_seconds, longest_seconds
        self.client = boto3.client("cloudformation")
        stack = self.describe()
        if not stack["StackStatus"].endswith("_COMPLETE") or stack["StackStatus"] == "ROLLBACK_COMPLETE":
            raise DeployError(f"{name} is in {stack['StackStatus']}: wait or repair it, then deploy again")
        self.before = {one["ParameterKey"]: one["ParameterValue"] for one in stack.get("Parameters", ())}
        template = self.client.get_template(StackName=name)["TemplateBody"]
        # A template of JSON comes parsed.
        self.template_before = template if isinstance(template, str) else json.dumps(template)

    def describe(self) -> dict[str, Any]:
        """Return the stack as it is now (MisuseError where there is none)."""
        try:
            (stack,) = self.client.describe_stacks(StackName=self.name)["Stacks"]
        except ClientError as error:
            if "does not exist" in str(error):
                raise MisuseError(f"there is no stack {self.name}: docs/deploy.md makes one") from error
            raise
        return dict(stack)

    def outputs(self) -> dict[str, str]:
        return {one["OutputKey"]: one["OutputValue"] for one in self.describe().get("Outputs", ())}

    def require_images(self, tag: str) -> None:
        """Find out now, and not by tasks that cannot start (MisuseError where an image is missing)."""
        ecr, outputs = boto3.client("ecr"), self.outputs()
        for uri in (outputs[name] for name in REPOSITORIES):
            repository = uri.split("/", 1)[1]
            try:
                ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])
            except ecr.exceptions.ImageNotFoundException as error:
                raise MisuseError(f"{repository} has no image {tag}: push it first") from error

    def update(self, template: str, given: dict[str, str]) -> None:
        """Update the stack and wait for the end (DeployError when it was taken back, with the reasons)."""
        started = self._newest_event()
        try:
            self.client.update_stack(
                StackName=self.name,
                TemplateBody=template,
                Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
                Capabilities=["CAPABILITY_IAM"],
            )
        except ClientError as error:
            if "No updates are to be performed" in str(error):
                return
            raise
        status = self._wait()
        if status != "UPDATE_COMPLETE":
            reasons = "\n  ".join(self._failures(started)) or "no event says why"
            raise DeployError(f"{self.name} is in {status}; it runs what it ran before. What failed:\n  {reasons}")

    def _wait(self) -> str:
        deadline = time.monotonic() + self.longest_seconds
        while (status := str(self.describe()["StackStatus"])).endswith("_IN_PROGRESS"):
            if time.monotonic() > deadline:
                raise DeployError(f"{self.name} is still in {status} after {self.longest_seconds:g} s")
            time.sleep(self.poll_seconds)
        return status

    def _newest_event(self) -> str:
        events = self.client.describe_stack_events(StackName=self.name)["StackEvents"]
        return str(events[0]["EventId"]) if events else ""

    def _failures(self, since: str) -> list[str]:
        """Return why resources failed since an event, the first one first."""
        found = []
        for page in self.client.get_paginator("describe_stack_events").paginate(StackName=self.name):
            for event in page["StackEvents"]:
                if event["EventId"] == since:
                    return found[::-1]
                if event["ResourceStatus"].endswith("_FAILED"):
                    found.append(f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason')}")
        return found[::-1]

    def wait_until_steady(self, seconds: float) -> None:
        """Wait until each service runs one deployment and as many tasks as it should (DeployError otherwise)."""
        ecs, cluster = boto3.client("ecs"), self.outputs()["ClusterName"]
        names = [f"{self.name}-{service}" for service in SERVICES]
        deadline = time.monotonic() + seconds
        while True:
            services = ecs.describe_services(cluster=cluster, services=names)["services"]
            busy = [one["serviceName"] for one in services if not is_steady(one)]
            busy += sorted(set(names) - {one["serviceName"] for one in services})
            if not busy:
                return
            if time.monotonic() > deadline:
                raise DeployError(f"not steady after {seconds:g} s: {', '.join(busy)}")
            time.sleep(self.poll_seconds)


class _WithoutTags(yaml.SafeLoader):
    """YAML, of which `!Ref` and the like are of no interest."""


_WithoutTags.add_multi_constructor("!", lambda *_: None)


def is_steady(service: dict[str, Any]) -> bool:
    """Tell whether nothing is being replaced, and all that should run does."""
    deployments = service["deployments"]
    return (
        service["status"] == "ACTIVE"
        and len(deployments) == 1
        and deployments[0].get("rolloutState", "COMPLETED") == "COMPLETED"
        and service["runningCount"] == service["desiredCount"]
    )


def smoke(url: str, dataset: str) -> None:
    """Try the stack (DeployError where it does not pass)."""
    command = [sys.executable, str(HERE / "smoke.py"), url, "--dataset", dataset]
    if subprocess.run(command, check=False).returncode:  # noqa: S603
        raise DeployError(f"{url} does not pass infra/smoke.py")


def deploy(args: argparse.Namespace) -> None:
    """Deploy, and take back what does not pass."""
    if not TAG.fullmatch(args.tag):
        raise MisuseError(f"{args.tag!r} is not the SHA of a commit")
    deployment = Deployment(args.stack, args.poll_seconds)
    deployment.require_images(args.tag)
    template = args.template.read_text(encoding="utf-8")
    asked = json.loads(args.parameters.read_text(encoding="utf-8"))["Parameters"] if args.parameters else {}
    # What the new template does not have any more is left out; what it has anew takes its default.
    known = yaml.load(template, Loader=_WithoutTags)["Parameters"]  # noqa: S506  (a SafeLoader)
    kept = {key: value for key, value in deployment.before.items() if key in known}
    given = {**kept, **asked, "ImageTag": args.tag}
    deployment.update(template, given)
    try:
        deployment.wait_until_steady(args.seconds)
        if args.smoke:
            smoke(deployment.outputs()["Url"], given.get("Dataset", "housets"))
    except DeployError as error:
        say(f"{error}\ndeploy: taking {args.stack} back to {deployment.before.get('ImageTag') or 'no image'}")
        deployment.update(deployment.template_before, deployment.before)
        raise DeployError(f"{args.stack} is taken back") from error
    say(f"{args.stack} runs {args.tag}: {deployment.outputs()['Url']}")


def say(text: str) -> None:
    print(f"deploy: {text}", file=sys.stderr)  # noqa: T201


def main(argv: Sequence[str] | None = None) -> int:
    """Deploy from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stack", help="name of the stack, which is there already")
    parser.add_argument("tag", help="SHA that both images are tagged with")
    parser.add_argument("--template", type=Path, default=HERE / "stack.yaml")
    parser.add_argument("--parameters", type=Path, help="JSON file; what it does not name stays as it is")
    parser.add_argument("--smoke", action="store_true", help="try it with infra/smoke.py, which needs API_KEY")
    parser.add_argument("--seconds", type=float, default=600, help="how long the services may take to be steady")
    parser.add_argument("--poll-seconds", type=float, default=5, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    try:
        deploy(args)
    except DeployError as error:
        say(str(error))
        return 2 if isinstance(error, MisuseError) else 1
    except (ClientError, BotoCoreError, OSError) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
