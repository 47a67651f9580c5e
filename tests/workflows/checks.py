"""What must hold of the workflows, as functions that return what is wrong with a folder of them."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import check_jsonschema
import yaml
from click.testing import CliRunner

from src.core.config import PROJECT

PINNED = re.compile(r"uses: (\S+)@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
MAKE = re.compile(r"make ([a-z-]+)")
SCRIPT = re.compile(r"(?:bash |python )?((?:infra/|\.ci/)\S+)(?: .*)?")
LONG_LIVED = re.compile(r"aws_?(secret_?)?access_?key|aws-(secret-)?access-key|AKIA[0-9A-Z]{12,}", re.IGNORECASE)
# The only secrets: keys of housecast's own, for prices and for signing, and where its monitoring is.
SECRETS = {"API_KEY", "BUNDLE_PRIVATE_KEY", "DATABASE_URL"}
# What a token may do without anybody asking why.
HARMLESS = {("contents", "read"), ("id-token", "write")}


@dataclass(frozen=True)
class Workflows:
    """The `.github` of a project and the Makefile that its steps call."""

    root: Path

    @cached_property
    def texts(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in sorted((self.root / ".github/workflows").glob("*.y*ml"))}

    @cached_property
    def parsed(self) -> dict[str, dict[Any, Any]]:
        return {name: yaml.safe_load(text) for name, text in self.texts.items()}

    @cached_property
    def makefile(self) -> str:
        return (self.root / "Makefile").read_text()

    def jobs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield `file: job` and the job."""
        for name, workflow in self.parsed.items():
            for job, said in workflow["jobs"].items():
                yield f"{name}: {job}", said

    def runs(self) -> Iterator[tuple[str, str]]:
        """Yield `file: job` and what a step of it runs."""
        for where, job in self.jobs():
            for step in job.get("steps", ()):
                if "run" in step:
                    yield where, step["run"]

    def recipe(self, target: str) -> str | None:
        """Return a target's commands, None where there is no such target."""
        found = re.search(rf"^{re.escape(target)}:.*\n((?:\t.*\n)*)", self.makefile + "\n", re.MULTILINE)
        return found and found.group(1)


def schema(project: Workflows) -> list[str]:
    """GitHub's own schemas, of workflows and of Dependabot."""
    workflows = [str(path) for path in (project.root / ".github/workflows").iterdir()]
    dependabot = [str(project.root / ".github/dependabot.yml")]
    kinds = (("vendor.github-workflows", workflows), ("vendor.dependabot", dependabot))
    ran = [CliRunner().invoke(check_jsonschema.main, ["--builtin-schema", kind, *files]) for kind, files in kinds]
    return [one.output for one in ran if one.exit_code]


def zizmor(project: Workflows) -> list[str]:
    """zizmor's strictest reading."""
    program = Path(sys.executable).with_name("zizmor")
    command = [program, "--offline", "--quiet", "--persona=auditor", "--no-progress", project.root / ".github"]
    # Without the options and the token that the machine may have for it.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("GH_", "GITHUB_", "ZIZMOR_"))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    return [] if done.returncode == 0 else [done.stdout + done.stderr]


def pinned(project: Workflows) -> list[str]:
    """Each action of another's is the full SHA of a commit, and says of which version."""
    return [
        f"{name}: {line.strip()}"
        for name, text in project.texts.items()
        for line in text.splitlines()
        if re.search(r"\buses:", line) and "uses: ./" not in line and not PINNED.search(line)
    ]


def permissions(project: Workflows) -> list[str]:
    """A workflow may nothing, a job what it names, which is little; a checkout leaves no token behind."""
    found = [f"{name}: permissions" for name, said in project.parsed.items() if said.get("permissions") != {}]
    for where, job in project.jobs():
        given = job.get("permissions")
        if not isinstance(given, dict):
            found.append(f"{where}: permissions {given}")
            continue
        found += [f"{where}: {scope}: {level}" for scope, level in given.items() if (scope, level) not in HARMLESS]
        takes_role = any("configure-aws-credentials" in step.get("uses", "") for step in job.get("steps", ()))
        if ("id-token" in given) != takes_role:
            found.append(f"{where}: id-token is for jobs that take a role, and for no other")
        found += [
            f"{where}: checkout keeps its token"
            for step in job.get("steps", ())
            if "actions/checkout@" in step.get("uses", "")
            and step.get("with", {}).get("persist-credentials") is not False
        ]
    return found


def limits(project: Workflows) -> list[str]:
    """A job ends, and what deploys or writes is never cut off by the next run."""
    found = [
        f"{where}: no timeout" for where, job in project.jobs() if "uses" not in job and "timeout-minutes" not in job
    ]
    for name, workflow in project.parsed.items():
        group = workflow.get("concurrency")
        if not isinstance(group, dict):
            found.append(f"{name}: no concurrency group")
        elif name != "ci.yml" and group.get("cancel-in-progress") is not False:
            found.append(f"{name}: a run in progress may be cancelled")
    return found


def deploys_after_ci(project: Workflows) -> list[str]:
    """What takes a role on its own needs ci, which is the whole of ci.yml, and every job with a role an environment."""
    found = []
    triggers = {name: said[True] for name, said in project.parsed.items()}  # YAML reads `on` as true
    for name in triggers:
        found += [f"{name}: {bad}" for bad in ("pull_request_target", "workflow_run") if bad in triggers[name]]
    if triggers["deploy.yml"] != {"push": {"branches": ["main"]}}:
        found.append("deploy.yml: runs on other things than a push to main")
    if not {"push", "pull_request", "workflow_call"} <= set(triggers["ci.yml"]):
        found.append("ci.yml: must run on push, pull_request and workflow_call")
    for where, job in project.jobs():
        if "id-token" not in (job.get("permissions") or {}):
            continue
        if not job.get("environment"):
            found.append(f"{where}: no environment")
        # Both run what is on main already.
        if set(triggers[where.split(":")[0]]) <= {"workflow_dispatch", "schedule"}:
            continue
        siblings = project.parsed[where.split(":")[0]]["jobs"]
        needs = [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])
        if not any(siblings[need].get("uses") == "./.github/workflows/ci.yml" for need in needs):
            found.append(f"{where}: does not need ci")
        # always(), failure() and cancelled() run a job whose needs have failed.
        if re.search(r"(always|failure|cancelled)\s*\(", str(job.get("if", ""))):
            found.append(f"{where}: runs without what it needs")
    return found


def secrets(project: Workflows) -> list[str]:
    """No key of AWS, and no secret but housecast's own."""
    found = []
    for name, text in project.texts.items():
        found += [f"{name}: {match.group(0)}" for match in LONG_LIVED.finditer(text)]
        named = set(re.findall(r"secrets\s*[.\[]\s*['\"]?(\w+)", text))
        found += [f"{name}: secret {secret}" for secret in sorted(named - SECRETS)]
        found += [f"{name}: all secrets handed on" for _ in re.finditer(r"secrets:\s*inherit|toJSON\(\s*secrets", text)]
    return found


def commands(project: Workflows) -> list[str]:
    """Each step is one line, without expressions, that calls a target or a script that is there."""
    found = []
    for where, run in project.runs():
        if "${{" in run:
            found.append(f"{where}: an expression in `{run}`")
        elif target := MAKE.fullmatch(run):
            found += [f"{where}: `{run}`: {why}" for why in _missing(project, target.group(1))]
        elif script := SCRIPT.fullmatch(run):
            if "\n" in run or re.search(r"[;&|`$<>]", run):
                found.append(f"{where}: `{run}` is more than a script")
            elif not (project.root / script.group(1)).is_file():
                found.append(f"{where}: `{run}`: no such script")
        else:
            found.append(f"{where}: `{run}` is neither a target nor a script")
    return found


def _missing(project: Workflows, target: str) -> list[str]:
    recipe = project.recipe(target)
    if recipe is None:
        return ["no such target"]
    named = re.findall(r"(?<![\w/])((?:infra|tests|\.ci)/[\w./]+)", recipe)
    return [f"no {path}, which it runs" for path in named if not (project.root / path).exists()]


def tried(project: Workflows) -> list[str]:
    """Whatever a workflow runs outside of ci, a test runs too: it imports the script of the target."""
    tests = "\n".join(path.read_text() for path in sorted((PROJECT / "tests").rglob("test_*.py")))
    ran = [(where, project.recipe(run.removeprefix("make ")) or run) for where, run in project.runs()]
    return [
        f"{where}: no test imports infra/{script}.py"
        for where, recipe in ran
        for script in re.findall(r"infra/(\w+)\.py", recipe)
        if not re.search(rf"^from infra import .*\b{script}\b", tests, re.MULTILINE)
    ]


def datasets(project: Workflows) -> list[str]:
    """monthly.yml offers the data sets that there are."""
    offered = project.parsed["monthly.yml"][True]["workflow_dispatch"]["inputs"]["dataset"]["options"]
    there = sorted(path.stem for path in (PROJECT / "configs").glob("*.yaml"))
    return [] if offered == there else [f"monthly.yml: offers {offered}, there are {there}"]


CHECKS = (
    schema,
    zizmor,
    pinned,
    permissions,
    limits,
    deploys_after_ci,
    secrets,
    commands,
    tried,
    datasets,
)
