"""The workflows of GitHub Actions, and the checks of them with broken copies."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from src.core.config import PROJECT
from tests.workflows import checks
from tests.workflows.checks import CHECKS, Workflows

Check = Callable[[Workflows], list[str]]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_workflows_are_as_they_should_be(check: Check) -> None:
    assert check(Workflows(PROJECT)) == []


@dataclass(frozen=True)
class Broken:
    """A change of a file that a check must see, and a word of what it then says."""

    check: Check
    file: str
    before: str
    after: str
    says: str


CI, DEPLOY, MONTHLY = (f".github/workflows/{name}.yml" for name in ("ci", "deploy", "monthly"))
CHECKOUT = "actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683 # v4.2.2"
TOKEN = "      id-token: write # to be given the role: no key of AWS is stored anywhere\n"
ROLE = "          role-to-assume: ${{ vars.DEPLOY_ROLE_ARN }}\n"
BROKEN = {
    "a job that is none": Broken(checks.schema, CI, "runs-on: ubuntu-24.04", "runs-upon: ubuntu-24.04", "runs-upon"),
    "a trigger that is none": Broken(checks.schema, CI, "  pull_request:\n", "  pull_requests:\n", "pull_requests"),
    "an unknown ecosystem": Broken(checks.schema, ".github/dependabot.yml", "ecosystem: uv", "ecosystem: u", "'u'"),
    "an action by its tag": Broken(checks.pinned, CI, CHECKOUT, "actions/checkout@v4", "checkout@v4"),
    "an action by its tag, for zizmor": Broken(checks.zizmor, CI, CHECKOUT, "actions/checkout@v4", "unpinned-uses"),
    "a SHA of no version": Broken(checks.pinned, CI, " # v4.2.2", "", "checkout@11bd"),
    "a short SHA": Broken(checks.pinned, CI, "11bd71901bbe5b1630ceea73d27597364c9af683", "11bd719", "checkout@11bd719"),
    "an image by its tag": Broken(checks.pinned, CI, f"uses: {CHECKOUT}", "uses: docker://debian:12", "debian:12"),
    "a workflow that may everything": Broken(
        checks.permissions, CI, "permissions: {}", "permissions: write-all", "ci.yml: permissions"
    ),
    "a workflow that may everything, for zizmor": Broken(
        checks.zizmor, CI, "permissions: {}", "permissions: write-all", "excessive-permissions"
    ),
    "a workflow that says nothing": Broken(checks.permissions, CI, "permissions: {}\n", "", "ci.yml: permissions"),
    "a job that may write": Broken(checks.permissions, CI, "contents: read #", "contents: write #", "contents: write"),
    "ci with a role": Broken(
        checks.permissions, CI, "    permissions:\n", "    permissions:\n      id-token: write\n", "id-token"
    ),
    "a deployment without a token": Broken(checks.permissions, DEPLOY, TOKEN, "", "id-token"),
    "a checkout that keeps its token": Broken(
        checks.permissions, CI, "persist-credentials: false", "persist-credentials: true", "keeps its token"
    ),
    "a checkout that keeps its token, for zizmor": Broken(
        checks.zizmor, CI, "        with:\n          persist-credentials: false\n", "", "artipacked"
    ),
    "a job without an end": Broken(checks.limits, CI, "    timeout-minutes: 20\n", "", "ci.yml: checks: no timeout"),
    "deployments that cut each other off": Broken(
        checks.limits, DEPLOY, "cancel-in-progress: false", "cancel-in-progress: true", "deploy.yml"
    ),
    "deployments side by side": Broken(
        checks.limits, DEPLOY, "  group: deploy\n  cancel-in-progress: false\n", "", "deploy.yml"
    ),
    "a deployment without ci": Broken(checks.deploys_after_ci, DEPLOY, "    needs: ci\n", "", "does not need ci"),
    "a deployment after another workflow": Broken(
        checks.deploys_after_ci, DEPLOY, "workflows/ci.yml #", "workflows/monthly.yml #", "does not need ci"
    ),
    "a deployment in spite of ci": Broken(
        checks.deploys_after_ci, DEPLOY, "if: vars.DEPLOY", "if: always() && vars.DEPLOY", "without what it needs"
    ),
    "a deployment of any branch": Broken(checks.deploys_after_ci, DEPLOY, "[main]", "['**']", "push to main"),
    "a deployment without an environment": Broken(
        checks.deploys_after_ci, DEPLOY, "    environment: production\n", "", "no environment"
    ),
    "a deployment after any run": Broken(
        checks.deploys_after_ci, DEPLOY, "  push:\n    branches: [main]", "  workflow_run: {workflows: [ci]}", "_run"
    ),
    "a deployment after any run, for zizmor": Broken(
        checks.zizmor, DEPLOY, "  push:\n    branches: [main]", "  workflow_run: {workflows: [ci]}", "dangerous"
    ),
    "ci without pull requests": Broken(checks.deploys_after_ci, CI, "  pull_request:\n", "", "pull_request"),
    "a key of AWS": Broken(
        checks.secrets, DEPLOY, ROLE, "          aws-access-key-id: ${{ secrets.KEY }}\n", "aws-access-key"
    ),
    "a key of AWS in the environment": Broken(
        checks.secrets,
        DEPLOY,
        "      TAG:",
        "      AWS_SECRET_ACCESS_KEY: x\n      TAG:",
        "SECRET_ACCESS",
    ),
    "a key of AWS as it is": Broken(
        checks.secrets, DEPLOY, "STACK: ${{ vars.STACK }}", "STACK: AKIA" + "A" * 16, "AKIA"
    ),
    "a secret under another name": Broken(
        checks.secrets, MONTHLY, "secrets.BUNDLE_PRIVATE_KEY", "secrets['OTHER']", "secret OTHER"
    ),
    "all secrets": Broken(
        checks.secrets, DEPLOY, "workflows/ci.yml #", "workflows/ci.yml\n    secrets: inherit #", "handed on"
    ),
    "what somebody wrote, in a shell": Broken(
        checks.commands, CI, "run: make lint", "run: echo ${{ github.event.pull_request.title }}", "an expression"
    ),
    "what somebody wrote, in a shell, for zizmor": Broken(
        checks.zizmor, CI, "run: make lint", "run: echo ${{ github.event.pull_request.title }}", "template-injection"
    ),
    "a target that is not there": Broken(checks.commands, CI, "run: make lint", "run: make lints", "no such target"),
    "a target that was removed": Broken(checks.commands, "Makefile", "\npush: ", "\npushes: ", "no such target"),
    "a target whose script is not there": Broken(
        checks.commands, "Makefile", "infra/push.py", "infra/pusher.py", "no infra/pusher.py"
    ),
    "a script that is not there": Broken(checks.commands, CI, "bash .ci/run", "bash .ci/runs", "no such script"),
    "a script and more": Broken(checks.commands, CI, "bash .ci/run", "bash .ci/run && date", "more than a script"),
    "a step of two lines": Broken(
        checks.commands, CI, "run: make lint", "run: |\n          make lint\n          date", "neither"
    ),
    "a step that only GitHub runs": Broken(checks.commands, CI, "run: make lint", "run: pip install ruff", "neither"),
    "a script that no test runs": Broken(
        checks.tried, "Makefile", "infra/push.py", "infra/pusher.py", "imports infra/pusher.py"
    ),
    "a data set that is not there": Broken(checks.datasets, MONTHLY, "california, ", "", "offers"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_copy_is_found(name: str, tmp_path: Path) -> None:
    broken = BROKEN[name]
    for part in (".github", ".ci", "infra"):
        shutil.copytree(PROJECT / part, tmp_path / part)
    (tmp_path / "tests").mkdir()
    for folder in re.findall(r"pytest tests/(\w+)", (PROJECT / "Makefile").read_text()):
        (tmp_path / "tests" / folder).mkdir()
    shutil.copy(PROJECT / "Makefile", tmp_path)
    path = tmp_path / broken.file
    text = path.read_text()
    assert broken.before in text, "the copy would not be broken"
    # What is sound now is what says nothing of the kind: a check that always complains finds nothing here.
    assert not any(broken.says in one for one in broken.check(Workflows(tmp_path)))
    path.write_text(text.replace(broken.before, broken.after, 1))
    assert any(broken.says in one for one in broken.check(Workflows(tmp_path))), broken.check(Workflows(tmp_path))
