"""The template of the AWS stack."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from src.api.keys import Keyring
from src.batch import run_monthly
from src.core.config import PROJECT, load_config
from src.core.errors import ConfigError
from tests.infra.stack_access_checks import WITHOUT_RESOURCE
from tests.infra.stack_checks import findings
from tests.infra.stack_template import GIVEN, STACK, VARIANTS, load, resolve

# What UpdateStack takes without a bucket for the template.
MOST_BYTES = 51_200


def test_the_linter_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("cfn-lint")
    run = subprocess.run([linter, STACK], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "")


def test_the_template_can_be_sent_as_it_is() -> None:
    assert STACK.stat().st_size <= MOST_BYTES


def test_nothing_is_wrong_with_the_template() -> None:
    assert findings(load()) == []


def test_every_parameter_is_used_and_every_condition_tried_both_ways() -> None:
    template = load()
    rest = json.dumps({part: template[part] for part in ("Resources", "Outputs", "Conditions", "Rules")})
    assert [name for name in template["Parameters"] if f'"{name}"' not in rest and f"${{{name}}}" not in rest] == []
    there = [set(resolve(template, given).resources) for given in VARIANTS.values()]
    conditional = {name for name, one in template["Resources"].items() if "Condition" in one}
    for name in template["Resources"]:
        assert {name in one for one in there} == ({True, False} if name in conditional else {True}), name


def test_actions_without_a_resource_are_those_for_which_iam_has_none() -> None:
    linter = find_spec("cfnlint")
    assert linter
    assert linter.origin
    services = json.loads(Path(linter.origin).with_name("data").joinpath("AdditionalSpecs/Policies.json").read_text())
    for action in WITHOUT_RESOURCE:
        service, name = action.split(":")
        assert "Resources" not in services[service]["Actions"][name.lower()], action


def test_the_batch_understands_the_arguments_of_its_task(capsys: pytest.CaptureFixture[str]) -> None:
    command = resolve(load(), GIVEN).container("BatchTask")["Command"]
    assert command[:3] == ["python", "-m", run_monthly.__name__]
    with pytest.raises(SystemExit) as ended:
        run_monthly.main([*command[3:], "--help"])
    assert ended.value.code == 0
    assert "--dataset" in capsys.readouterr().out
    assert load_config(command[command.index("--dataset") + 1]).name == "housets"


def test_the_word_that_a_secret_is_made_with_admits_nobody() -> None:
    with pytest.raises(ConfigError, match="entry 1 is not NAME:SCOPE:SHA256"):
        Keyring("x8Jq2LmT0vRz4KcN6bWyQ1aPfUeGh3Sd")  # as Secrets Manager makes them


@pytest.mark.parametrize("path", sorted((PROJECT / "infra" / "parameters").glob("*.json")), ids=lambda path: path.stem)
def test_the_parameters_of_an_environment_are_the_templates(path: Path) -> None:
    template = load()
    given = json.loads(path.read_text())["Parameters"]
    stack = resolve(template, given)
    assert stack.parameters["ApiMinTasks"] < stack.parameters["ApiMaxTasks"]
    for name, value in given.items():
        assert value in map(str, template["Parameters"][name].get("AllowedValues", [value]))
    assert "ImageTag" not in given  # it is the deployment's
