#!/usr/bin/env python3
"""Push both images of a commit to a stack's repositories, tagged with it; what is there already stays.

Needs Docker, with the images that infra/images.sh built, and boto3. Exit codes: 0 both are there, 1 something failed,
2 the images or the arguments are wrong.
"""

import argparse
import base64
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

# Image -> the stack's output that names its repository.
REPOSITORIES = {"housecast-api": "ApiRepositoryUri", "housecast-dashboard": "DashboardRepositoryUri"}
REVISION = '{{index .Config.Labels "org.opencontainers.image.revision"}}'


class PushError(Exception):
    """What went wrong."""


class MisuseError(PushError):
    """What is wrong with what was asked for."""


def docker(*command: str, config: str | None = None, told: str | None = None) -> str:
    """Return what a command of Docker's writes (PushError where it fails); `config` is a folder of its own."""
    environment = {**os.environ, "DOCKER_CONFIG": config} if config else None
    try:
        done = subprocess.run(  # noqa: S603
            ["docker", *command],  # noqa: S607
            input=told,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise MisuseError("docker is not installed") from error
    if done.returncode:
        raise PushError(f"docker {' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()


def outputs(stack: str) -> dict[str, str]:
    """Return a stack's outputs."""
    (found,) = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    return {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", ())}


def require_commit(image: str, tag: str) -> None:
    """See that an image is of the commit that it is about to be tagged with (MisuseError otherwise)."""
    try:
        made_of = docker("image", "inspect", "--format", REVISION, image)
    except MisuseError:
        raise
    except PushError as error:
        raise MisuseError(f"{error}\npush: `make images` comes first") from error
    if made_of != tag:
        raise MisuseError(f"{image} is of commit {made_of or 'unknown'}, not of {tag}: `make images` again")


def is_there(ecr: Any, repository: str, tag: str) -> bool:
    """Tell whether a repository has a tag."""
    try:
        ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])
    except ecr.exceptions.ImageNotFoundException:
        return False
    return True


def push(stack: str, tag: str) -> None:
    """Push what is not there yet."""
    if not re.fullmatch(r"[0-9a-f]{40}", tag):
        raise MisuseError(f"{tag!r} is not the full SHA of a commit")
    for image in REPOSITORIES:
        require_commit(image, tag)
    ecr, named = boto3.client("ecr"), outputs(stack)
    uris = {image: named[output] for image, output in REPOSITORIES.items()}
    # A tag is never moved, so a workflow that runs again could not push it again.
    wanted = {image: uri for image, uri in uris.items() if not is_there(ecr, uri.split("/", 1)[1], tag)}
    for image in uris.keys() - wanted.keys():
        say(f"{uris[image]}:{tag} is there already")
    if not wanted:
        return
    (grant,) = ecr.get_authorization_token()["authorizationData"]
    user, _, password = base64.b64decode(grant["authorizationToken"]).decode().partition(":")
    # The password opens the registry for twelve hours, so it goes with this folder.
    with tempfile.TemporaryDirectory(prefix="housecast-docker-") as config:
        registry = next(iter(wanted.values())).split("/", 1)[0]
        docker("login", "--username", user, "--password-stdin", registry, config=config, told=password)
        for image, uri in wanted.items():
            docker("tag", image, f"{uri}:{tag}")
            docker("push", f"{uri}:{tag}", config=config)
            say(f"{uri}:{tag} is pushed")


def say(text: str) -> None:
    print(f"push: {text}", file=sys.stderr)  # noqa: T201


def main(argv: Sequence[str] | None = None) -> int:
    """Push from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stack", help="name of the stack, which has the repositories")
    parser.add_argument("tag", help="full SHA of the commit that the images were built from")
    args = parser.parse_args(argv)
    try:
        push(args.stack, args.tag)
    except PushError as error:
        say(str(error))
        return 2 if isinstance(error, MisuseError) else 1
    except (ClientError, BotoCoreError, OSError) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
