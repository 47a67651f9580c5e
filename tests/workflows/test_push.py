"""`infra/push.py`: which images go to which repositories. Docker is a stand-in that writes down what it is asked."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from infra import push
from tests.workflows.conftest import Connect

COMMIT = "b" * 40
# `docker image inspect` answers what the test put into a file of the image's name; the rest is written down, with what
# `docker login` is told and where the passwords go.
DOCKER = """#!/bin/sh
cd "$(dirname "$0")"
case "$1" in
  image) cat "$5" 2>/dev/null || { echo "No such image: $5" >&2; exit 1; } ;;
  login) echo "$* <- $(cat) in ${DOCKER_CONFIG:-home}" >> said ;;
  push) [ ! -e refuse ] || { echo "denied" >&2; exit 1; }; echo "$*" >> said ;;
  *) echo "$*" >> said ;;
esac
"""
TEMPLATE = {
    "Resources": {
        name: {"Type": "AWS::ECR::Repository", "Properties": {"RepositoryName": f"homes/{name.lower()}"}}
        for name in ("Api", "Dashboard")
    },
    "Outputs": {
        f"{name}RepositoryUri": {"Value": {"Fn::GetAtt": [name, "RepositoryUri"]}} for name in ("Api", "Dashboard")
    },
}
REGISTRY = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aws: Connect) -> Path:
    """A folder with a docker that has both images of the commit, and a stack to push them to."""
    program = tmp_path / "docker"
    program.write_text(DOCKER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    for image in push.REPOSITORIES:
        (tmp_path / image).write_text(COMMIT)
    aws("cloudformation").create_stack(StackName="homes", TemplateBody=json.dumps(TEMPLATE))
    return tmp_path


def said(docker: Path) -> list[str]:
    path = docker / "said"
    return path.read_text().splitlines() if path.exists() else []


def put(ecr: Any, repository: str) -> None:
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": {"digest": repository}, "layers": []}
    ecr.put_image(repositoryName=repository, imageTag=COMMIT, imageManifest=json.dumps(manifest))


def test_both_images_are_pushed_by_their_commit(docker: Path) -> None:
    assert push.main(["homes", COMMIT]) == 0
    login, *rest = said(docker)
    api, dashboard = f"{REGISTRY}/homes/api:{COMMIT}", f"{REGISTRY}/homes/dashboard:{COMMIT}"
    assert rest == [
        f"tag housecast-api {api}",
        f"push {api}",
        f"tag housecast-dashboard {dashboard}",
        f"push {dashboard}",
    ]
    # The password is no argument, which others on the machine could see, and does not stay in the user's own folder.
    assert login.startswith(f"login --username AWS --password-stdin {REGISTRY} <- ")
    config = Path(login.rsplit(" in ", 1)[1])
    assert config.name.startswith("housecast-docker-")
    assert not config.exists()


def test_what_is_there_is_not_pushed_again(docker: Path, aws: Connect, capsys: pytest.CaptureFixture[str]) -> None:
    put(aws("ecr"), "homes/api")
    assert push.main(["homes", COMMIT]) == 0
    assert [line for line in said(docker) if line.startswith("push")] == [f"push {REGISTRY}/homes/dashboard:{COMMIT}"]
    assert "/homes/api:" in capsys.readouterr().err
    put(aws("ecr"), "homes/dashboard")
    (docker / "said").unlink()
    assert push.main(["homes", COMMIT]) == 0
    assert said(docker) == []


@pytest.mark.parametrize("content", ["a" * 40, ""])
def test_an_image_of_another_commit_is_refused(docker: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    (docker / "housecast-dashboard").write_text(content)
    assert push.main(["homes", COMMIT]) == 2
    assert f"housecast-dashboard is of commit {content or 'unknown'}, not of {COMMIT}" in capsys.readouterr().err
    assert said(docker) == []


def test_an_image_that_is_not_built_is_refused(docker: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (docker / "housecast-api").unlink()
    assert push.main(["homes", COMMIT]) == 2
    assert "`make images` comes first" in capsys.readouterr().err


@pytest.mark.parametrize("tag", ["latest", "b" * 7, ""])
def test_a_tag_is_the_whole_sha_of_a_commit(docker: Path, tag: str) -> None:
    assert push.main(["homes", tag]) == 2
    assert said(docker) == []


def test_what_fails_is_told(docker: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert push.main(["palaces", COMMIT]) == 1
    assert "palaces" in capsys.readouterr().err
    (docker / "refuse").touch()
    assert push.main(["homes", COMMIT]) == 1
    assert "denied" in capsys.readouterr().err
    monkeypatch.setenv("PATH", "/nowhere")
    assert push.main(["homes", COMMIT]) == 2
    assert "docker is not installed" in capsys.readouterr().err
