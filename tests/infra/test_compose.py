"""`compose.yaml` and `.env.example`: fit each other, the settings and the images; what can run without Docker runs."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer
from starlette.testclient import TestClient

from src.api.app import create_app
from src.core.config import PROJECT, Settings
from tests import postgres
from tests.infra.dockerfile import IMAGES, Container
from tests.system_parts import require_program

COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: Container.of(one["image"]) for name, one in SERVICES.items() if one["image"] in IMAGES}
EXAMPLE = (PROJECT / ".env.example").read_text()
SETTINGS = {name.upper() for name in Settings.model_fields}
CREDENTIALS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
# ${NAME}, ${NAME:?message}; $$ stands for a plain $.
VARIABLES = dict(re.findall(r"(?<!\$)\$\{(\w+)([^}]*)\}", json.dumps(COMPOSE)))
LINES = re.findall(r"((?:^# .+\n)+)^(#?)(\w+)=(.*)$", EXAMPLE, re.MULTILINE)
EVERY = pytest.mark.parametrize("name", SERVICES)


def test_the_file_is_what_docker_compose_reads() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_lists_what_there_is_to_set_and_nothing_else() -> None:
    handed_on = {
        name for one in SERVICES.values() for name, value in one.get("environment", {}).items() if value is None
    }
    names = [name for _, _, name, _ in LINES]
    assert len(names) == len(set(names)) == len(re.findall(r"^#?\w+=", EXAMPLE, re.MULTILINE))
    assert set(names) == SETTINGS | set(VARIABLES) | CREDENTIALS
    assert handed_on <= SETTINGS


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_the_example_says_what_a_setting_means(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    field = Settings.model_fields[name]
    said, off, value = next((said, off, value) for said, off, key, value in LINES if key == name.upper())
    assert field.description in " ".join(said.replace("#", " ").split()), "with the words of Settings"
    if field.default is not None and field.default != "" and off:
        monkeypatch.setenv(name.upper(), value)
        assert getattr(Settings(), name) == field.default, "what is not set shows the default"


def test_passwords_have_no_default_and_the_documented_command_fills_them_in(tmp_path: Path) -> None:
    require_program("openssl", "OpenSSL")
    assert all(rest == ":?set it in .env" for rest in VARIABLES.values()), "left out, each stops the start"
    (tmp_path / ".env.example").write_text(EXAMPLE)
    line = re.search(r"^sed .+> \.env", (PROJECT / "docs" / "run.md").read_text(), re.MULTILINE)
    assert line
    subprocess.run(line[0], shell=True, cwd=tmp_path, check=True)
    # Commands on this machine read the file as the shell does.
    shown = ["sh", "-c", f"set -a; . ./.env; env | grep -E '^({'|'.join([*VARIABLES, *CREDENTIALS])})='"]
    made = subprocess.run(shown, cwd=tmp_path, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True)
    values = dict(line.split("=", 1) for line in made.stdout.splitlines())
    assert set(values) == set(VARIABLES) | CREDENTIALS
    assert all(values.values())
    for name in ("MINIO_ROOT_PASSWORD", "POSTGRES_PASSWORD"):
        assert re.search(f"^{name}=$", EXAMPLE, re.MULTILINE)
        assert len(values[name]) == 32
    assert values["AWS_SECRET_ACCESS_KEY"] == values["MINIO_ROOT_PASSWORD"]


@EVERY
def test_our_code_gets_settings_that_it_knows(name: str) -> None:
    one = SERVICES[name]
    if one["image"] in IMAGES or name == "train":
        assert set(one["environment"]) <= SETTINGS | CREDENTIALS
        given = {key.lower(): value for key, value in one["environment"].items() if key in SETTINGS and value}
        Settings(**given)
    for key in ("S3_ENDPOINT_URL", "API_URL", "MLFLOW_TRACKING_URI", "MLFLOW_S3_ENDPOINT_URL"):
        if address := one.get("environment", {}).get(key):
            host, port = re.fullmatch(r"http://(\w+):(\d+)", address).groups()  # type: ignore[union-attr]
            assert SERVICES[host]["ports"][0].endswith(f":{port}"), f"{key}: a service on its port"


@EVERY
def test_a_service_may_do_no_more_than_it_must(name: str) -> None:
    one = SERVICES[name]
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert set(one["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert all(re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port) for port in one.get("ports", []))
    if "build" not in one:
        assert re.search(r":[\w.-]*\d", one["image"]), "a version"
    if name in OURS:
        writable = [place.split(":")[0] for place in one.get("tmpfs", [])]
        writable += [place.split(":")[1] for place in one.get("volumes", [])]
        assert writable == [OURS[name].volume], "what the image writes to, and nothing else"
        folders = [OURS[name].environment.get(key) for key in ("CACHE", "WORKSPACE", "TMPDIR")]
        assert all(folder.startswith(OURS[name].volume) for folder in folders if folder)


@EVERY
def test_services_start_in_an_order_that_ends(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        if how["condition"] == "service_healthy":
            assert other == "dashboard" or "test" in SERVICES[other]["healthcheck"]
        else:
            assert how["condition"] == "service_completed_successfully"
            assert SERVICES[other]["restart"] != "unless-stopped", "else it never completes"


def test_volumes_are_declared_and_used() -> None:
    used = [place.split(":")[0] for one in SERVICES.values() for place in one.get("volumes", [])]
    assert sorted(used) == sorted(COMPOSE["volumes"]), "each by one service"


def test_services_of_ours_are_what_the_dockerfiles_make(tmp_path: Path) -> None:
    for name, image in {"api": "housecast-api", "dashboard": "housecast-dashboard"}.items():
        one = SERVICES[name]
        build = one["build"] if isinstance(one["build"], dict) else {"context": one["build"]}
        assert (one["image"], build.get("dockerfile", "Dockerfile")) == (image, IMAGES[image])
        assert "command" not in one, "the image's own"
        assert one["ports"] == [f"127.0.0.1:{OURS[name].port}:{OURS[name].port}"]
    asked = re.search(r"http://127\.0\.0\.1:(\d+)(/[\w/]+)", SERVICES["api"]["healthcheck"]["test"][-1])
    assert asked
    assert int(asked[1]) == OURS["api"].port
    api = TestClient(create_app(Settings(workspace=tmp_path)))
    assert api.get(OURS["api"].health).status_code == 503, "no model yet"
    assert api.get(asked[2]).status_code == 200, "and the dashboard can start"
    assert int(SERVICES["api"]["stop_grace_period"].rstrip("s")) >= 30, "docs/operations.md"


def test_the_training_image_has_what_training_needs() -> None:
    lines = SERVICES["mlflow"]["build"]["dockerfile_inline"].replace("\\\n", " ")
    dockerfile = (PROJECT / "Dockerfile").read_text()
    for pattern in (r"python:[\w.-]+", r"uv==[\d.]+"):
        assert set(re.findall(pattern, lines)) <= set(re.findall(pattern, dockerfile)), "the same as in the API's image"
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    assert set(re.findall(r"--group (\w+)", lines)) == {"training"} <= set(project["dependency-groups"])
    extras = set(re.findall(r"--extra (\w+)", lines))
    assert {"postgres", "estimators"} <= extras <= set(project["project"]["optional-dependencies"])
    # The build's context has no more than .dockerignore lets through.
    let_through = {line.removeprefix("!") for line in (PROJECT / ".dockerignore").read_text().split() if line[0] == "!"}
    for copied in re.findall(r"^COPY (.+)$", lines, re.MULTILINE):
        assert set(copied.split()[:-1]) <= let_through
    assert SERVICES["train"]["image"] == SERVICES["mlflow"]["image"]
    assert SERVICES["train"]["build"] == SERVICES["mlflow"]["build"]
    assert SERVICES["train"]["entrypoint"][:2] == ["python", "-m"]
    assert find_spec(SERVICES["train"]["entrypoint"][2])
    assert f"WORKSPACE={SERVICES['train']['volumes'][0].split(':')[1]}" in lines


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType")  # MLflow's own import
def test_mlflow_knows_the_flags_and_variables_that_it_gets() -> None:
    from mlflow import environment_variables
    from mlflow.cli import server

    one = SERVICES["mlflow"]
    assert one["command"][:2] == ["mlflow", "server"]
    flags = server.make_context("server", list(one["command"][2:])).params
    assert flags["port"] == int(one["ports"][0].split(":")[-1])
    assert f"mlflow:{flags['port']}" in flags["allowed_hosts"], "the name by which `train` asks"
    known = set(vars(environment_variables)) | {option.envvar for option in server.params}
    assert {name for name in one["environment"] if name.startswith("MLFLOW_")} <= known


def test_the_bucket_is_made_once(tmp_path: Path) -> None:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        keys = {"AWS_ACCESS_KEY_ID": "user", "AWS_SECRET_ACCESS_KEY": "password"}
        given = SERVICES["bucket"]["environment"] | keys | {"S3_BUCKET": "homes-made-once", "S3_ENDPOINT_URL": address}
        command = [sys.executable, *SERVICES["bucket"]["command"][1:]]
        for _ in ("first start", "second start"):
            subprocess.run(command, cwd=PROJECT, env={"HOME": str(tmp_path), **given}, check=True)
        s3 = boto3.Session("user", "password").client("s3", endpoint_url=address, region_name="us-east-1")
        # Every server that moto runs in this process has the same buckets.
        assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]].count("homes-made-once") == 1
    finally:
        server.stop()


def test_postgres_is_asked_whether_it_takes_connections() -> None:
    command = SERVICES["postgres"]["healthcheck"]["test"][1:]
    command[0] = require_program(command[0], "Postgres", postgres.FOLDERS)
    with postgres.running() as server:
        port = str(server.port)
        assert subprocess.run(command, env=os.environ | {"PGPORT": port}, capture_output=True).returncode == 0
    assert subprocess.run(command, env=os.environ | {"PGPORT": port}, capture_output=True).returncode == 2


def test_documented_commands_name_services() -> None:
    said = (PROJECT / "docs" / "run.md").read_text()
    for command in re.findall(r"docker compose run --rm (.+)", said):
        words = [word for word in shlex.split(re.split(r"[`#]", command)[0]) if not word.startswith("-")]
        assert words[0] in SERVICES or words[1] in SERVICES
        if "python" in words:
            assert find_spec(words[words.index("python") + 1])
    for address, path in re.findall(r"http://(127\.0\.0\.1:\d+)(/\w+)?", said):
        assert any(address in port for one in SERVICES.values() for port in one.get("ports", [])), address + path
