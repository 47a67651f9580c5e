"""A mistake is one line and an exit code, never a traceback."""

import logging
from collections.abc import Iterator, Sequence

import pytest

from src.core import cli
from src.core.errors import BundleError, ConfigError, DataError, GateError, StoreError


@pytest.fixture(autouse=True)
def logger() -> Iterator[logging.Logger]:
    """The package's logger, as it was before the test."""
    found = logging.getLogger("src")
    before = (found.handlers[:], found.level, found.propagate)
    yield found
    found.handlers[:], found.propagate = before[0], before[2]
    found.setLevel(before[1])


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ConfigError("a"), 2, "error: a\n"),
        (DataError("b"), 2, "error: b\n"),
        (StoreError("c"), 1, "error: c\n"),
        (BundleError("d"), 1, "error: d\n"),
        (GateError("e"), 1, "error: e\n"),
        (OSError(28, "No space left on device", "out.csv"), 1, "error: No space left on device: out.csv\n"),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_errors_become_exit_codes(
    capsys: pytest.CaptureFixture[str], error: Exception, code: int, message: str
) -> None:
    def command(argv: Sequence[str] | None) -> None:
        raise error

    assert cli.run_command(command) == code
    assert capsys.readouterr().err == message


def test_ctrl_c_is_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def command(argv: Sequence[str] | None) -> None:
        raise KeyboardInterrupt

    assert cli.run_command(command) == 130
    assert "stopped" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback() -> None:
    def command(argv: Sequence[str] | None) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cli.run_command(command)


def test_a_wrong_environment_variable_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THREADS", "many")
    assert cli.run_command(lambda _: None) == 2
    assert "THREADS" in capsys.readouterr().err


def test_log_lines_go_to_standard_error_once(capsys: pytest.CaptureFixture[str], logger: logging.Logger) -> None:
    for _ in range(2):
        assert cli.run_command(lambda _: logging.getLogger("src.some.stage").info("12 rows")) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("12 rows") == 2, "setting logging up again adds no second handler"


def test_the_dataset_is_the_flag_or_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    made = cli.parser("x")
    assert cli.read_dataset(made.parse_args([]), cli.read_settings()).name == "housets"
    with pytest.raises(ConfigError, match=r"no dataset 'nothing': .*Datasets: .*housets"):
        cli.read_dataset(made.parse_args(["--dataset", "nothing"]), cli.read_settings())
    monkeypatch.setenv("DEFAULT_DATASET", "nothing")
    with pytest.raises(ConfigError, match="no dataset 'nothing'"):
        cli.read_dataset(made.parse_args([]), cli.read_settings())


def test_a_wrong_log_level_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LOG_LEVEL", "chatty")
    assert cli.run_command(lambda _: None) == 2
    assert "LOG_LEVEL" in capsys.readouterr().err
    monkeypatch.setenv("LOG_LEVEL", "warning")
    assert cli.run_command(lambda _: None) == 0


def test_help_names_the_environment_and_no_empty_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.parser("x").parse_args(["--help"])
    shown = capsys.readouterr().out
    for variable in ("DATA_ROOT", "WORKSPACE", "MODEL_STORE", "MLFLOW_TRACKING_URI", "THREADS"):
        assert variable in shown
    assert "default: None" not in shown


def test_a_user_without_a_name_is_named_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert cli.user_name().startswith("uid ")
