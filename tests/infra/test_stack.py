"""The template of the AWS stack."""

import subprocess
import sys
from pathlib import Path

from tests.infra.stack_template import STACK

# What UpdateStack takes without a bucket for the template.
MOST_BYTES = 51_200


def test_the_linter_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("cfn-lint")
    run = subprocess.run([linter, STACK], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "")


def test_the_template_can_be_sent_as_it_is() -> None:
    assert STACK.stat().st_size <= MOST_BYTES
