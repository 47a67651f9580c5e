"""Containers of the images that `make images` built, on the host's network: of Docker, or of buildah without it."""

import json
import os
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

BASE = "python:3.11-slim-bookworm"
# As `infra/images.sh` builds where no Docker engine runs.
BUILDAH = {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
# Longer than the API takes to drain.
STOP_SECONDS = 40


def has_docker() -> bool:
    try:
        return subprocess.run(["docker", "info"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


DOCKER = has_docker()


def call(*command: str) -> str:
    try:
        done = subprocess.run(command, env={**os.environ, **BUILDAH}, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.fail(f"{command[0]} is not there; `make images` comes first", pytrace=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def inspected(image: str) -> tuple[dict[str, Any], int]:
    """Return an image's configuration and its size in bytes."""
    if DOCKER:
        if image == BASE:  # a build does not leave it among the engine's images
            call("docker", "pull", "--quiet", image)
        said = json.loads(call("docker", "image", "inspect", image))[0]
        return said["Config"], said["Size"]
    said = json.loads(call("buildah", "inspect", "--type", "image", image))
    listed = json.loads(call("buildah", "images", "--json", image))[0]
    number, unit = listed["size"].split()
    scale = {"MB": 1e6, "GB": 1e9}[unit]
    return said["Docker"]["config"], int(float(number) * scale)


@dataclass
class Container:
    """One that runs; `log` has what it wrote."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> int:
        """Send SIGTERM to its first process and return that one's exit code."""
        if DOCKER:
            call("docker", "stop", "--time", str(STOP_SECONDS), self.name)
            return int(call("docker", "inspect", "--format", "{{.State.ExitCode}}", self.name))
        os.kill(_first_process(self.process.pid), signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def written(self) -> list[str]:
        """Return the files outside of /cache, /tmp and what the kernel shows that it made or changed."""
        if DOCKER:  # its root file system is read-only
            return []
        root = Path(call("buildah", "mount", self.name).strip())
        born = self.log.with_suffix(".born").stat().st_mtime
        kernel = tuple(
            f"{root}/{name}" for name in ("cache", "proc", "sys", "dev", "run", "etc/hosts", "etc/resolv.conf")
        )
        return [
            path
            for folder, _, files in os.walk(root)
            for name in files
            if not (path := f"{folder}/{name}").startswith(kernel) and os.lstat(path).st_mtime > born
        ]


@contextmanager
def running(image: str, environment: dict[str, str], command: Sequence[str] = ()) -> Iterator[Container]:
    """Run an image as its own user, with its own command unless another is given."""
    with tempfile.TemporaryDirectory(prefix="housecast-") as folder:
        log = Path(folder) / "container.log"
        told = [f"--env={name}={value}" for name, value in environment.items()]
        if DOCKER:
            name = f"housecast-{uuid.uuid4().hex}"
            # As on ECS and Kubernetes: nothing but /cache can be written.
            how = ["--read-only", "--network=host", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
            line = ["docker", "run", "--name", name, *how, *told, image, *command]
        else:
            name = call("buildah", "from", "--pull-never", image).strip()
            command = command or inspected(image)[0]["Cmd"]
            line = ["buildah", "run", *told, name, "--", *command]
        log.with_suffix(".born").touch()
        time.sleep(0.05)
        with log.open("wb") as stream:
            process = subprocess.Popen(line, env={**os.environ, **BUILDAH}, stdout=stream, stderr=stream)
        try:
            yield Container(name, process, log)
        finally:
            if process.poll() is None:
                if not DOCKER:
                    os.kill(_first_process(process.pid), signal.SIGKILL)
                process.kill()
            process.wait(STOP_SECONDS)
            call("docker", "rm", "--force", name) if DOCKER else call("buildah", "rm", name)


def _first_process(pid: int) -> int:
    """Return the container's first process, which stands below some of buildah's own."""
    while Path(f"/proc/{pid}/cmdline").read_text().startswith("buildah"):
        # Any of its threads may have started the next.
        children = "".join(one.read_text() for one in Path(f"/proc/{pid}/task").glob("*/children")).split()
        if not children:
            break
        pid = int(children[0])
    return pid
