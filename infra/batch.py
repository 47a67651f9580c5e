#!/usr/bin/env python3
"""Run a stack's batch now, as EventBridge does every month, and wait for its end.

The task and its network are those of the rule STACK-batch. Needs boto3. Exit codes: the batch's own (0 done, 1 a month
failed, 2 the input or the model is wrong), 1 also where it could not start or takes too long.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

COMMAND = ("python", "-m", "src.batch.run_monthly")


class BatchError(Exception):
    """Why there is no exit code."""


def target_of(stack: str) -> dict[str, Any]:
    """Return what the rule starts (BatchError where there is nothing)."""
    events = boto3.client("events")
    try:
        targets = events.list_targets_by_rule(Rule=f"{stack}-batch")["Targets"]
    except events.exceptions.ResourceNotFoundException as error:
        raise BatchError(f"there is no rule {stack}-batch: deploy {stack} first") from error
    if len(targets) != 1:
        raise BatchError(f"the rule {stack}-batch starts {len(targets)} tasks, not one")
    return dict(targets[0])


def start(stack: str, options: Sequence[str]) -> tuple[str, str]:
    """Start the task; returns its cluster and its name."""
    target = target_of(stack)
    how = target["EcsParameters"]
    network = how["NetworkConfiguration"]["awsvpcConfiguration"]
    ecs = boto3.client("ecs")
    (container,) = ecs.describe_task_definition(taskDefinition=how["TaskDefinitionArn"])["taskDefinition"][
        "containerDefinitions"
    ]
    changed = [{"name": container["name"], "command": [*COMMAND, *options]}] if options else []
    answer = ecs.run_task(
        cluster=target["Arn"],
        taskDefinition=how["TaskDefinitionArn"],
        launchType=how["LaunchType"],
        # EventBridge writes the same words with large letters.
        networkConfiguration={"awsvpcConfiguration": {f"{key[0].lower()}{key[1:]}": network[key] for key in network}},
        overrides={"containerOverrides": changed},
        startedBy="infra/batch.py",
    )
    if not answer["tasks"]:
        raise BatchError("; ".join(one.get("reason", "no reason") for one in answer.get("failures", ())))
    task = answer["tasks"][0]["taskArn"]
    log = container.get("logConfiguration", {}).get("options", {})
    stream = f"{log.get('awslogs-stream-prefix')}/{container['name']}/{task.rsplit('/', 1)[1]}"
    say(f"started {task}; its log: {log.get('awslogs-group')} {stream}")
    return target["Arn"], task


def wait(cluster: str, task: str, seconds: float, poll_seconds: float) -> int:
    """Wait for the end and return the exit code (BatchError where there is none)."""
    ecs, deadline = boto3.client("ecs"), time.monotonic() + seconds
    while True:
        answer = ecs.describe_tasks(cluster=cluster, tasks=[task])
        # Right after its start a task may not be known yet.
        now = answer["tasks"][0] if answer["tasks"] else {"lastStatus": "PENDING"}
        if now["lastStatus"] == "STOPPED":
            code = now["containers"][0].get("exitCode")
            if code is None:
                why = now["containers"][0].get("reason") or now.get("stoppedReason") or "no reason"
                raise BatchError(f"it ended without an exit code: {why}")
            return int(code)
        if time.monotonic() > deadline:
            raise BatchError(f"it is still {now['lastStatus']} after {seconds:g} s, and goes on")
        time.sleep(poll_seconds)


def say(text: str) -> None:
    print(f"batch: {text}", file=sys.stderr)  # noqa: T201


def main(argv: Sequence[str] | None = None) -> int:
    """Run the batch from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stack", help="name of the stack")
    parser.add_argument("--dataset", help="which data set; the stack's own if not given")
    parser.add_argument("--seconds", type=float, default=6000, help="how long it may take")
    parser.add_argument("--poll-seconds", type=float, default=10, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    try:
        cluster, task = start(args.stack, ["--dataset", args.dataset] if args.dataset else [])
        code = wait(cluster, task, args.seconds, args.poll_seconds)
    except (BatchError, ClientError, BotoCoreError) as error:
        say(str(error))
        return 1
    say(f"ended with exit code {code}")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
