"""What every stage's command line shares: the common flags, and errors turned into exit codes."""

import argparse
import getpass
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from src.core.config import DatasetConfig, Settings, load_config
from src.core.errors import ConfigError, HousecastError
from src.core.log import set_up_logging

EXIT_CODES = "exit codes: 0 done, 1 a gate, check or job failed, 2 the input or configuration is wrong"

REASON_LENGTH = 1000


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Show defaults, but not `None`, of which the help itself says what it stands for; keep the epilog's lines."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return super()._get_help_string(action) if action.default not in (None, False, []) else action.help


def parser(description: str) -> argparse.ArgumentParser:
    """Make a parser with `--dataset`; stages add the flags that they need."""
    made = argparse.ArgumentParser(
        description=description, epilog=f"{environment()}\n\n{EXIT_CODES}", formatter_class=HelpFormatter
    )
    made.add_argument(
        "--dataset",
        default=None,
        help="name of a configs/*.yaml or path of a YAML file; DEFAULT_DATASET if not given",
    )
    return made


def environment() -> str:
    fields = Settings.model_fields.items()
    return "\n".join(["environment:", *(f"  {name.upper():<21} {field.description}" for name, field in fields)])


def add_input(made: argparse.ArgumentParser, text: str) -> None:
    made.add_argument("--input", type=Path, default=None, help=text)


def add_output_dir(made: argparse.ArgumentParser, text: str) -> None:
    made.add_argument("--output-dir", type=Path, default=None, help=text)


def add_family(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--family",
        default=None,
        help="an entry of the config's `families`, or a family with its defaults, in place of the config's model",
    )


def add_store(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--store",
        default=None,
        help="model store, a folder or s3://bucket/prefix; else MODEL_STORE, S3_BUCKET, models/",
    )


def add_why(made: argparse.ArgumentParser, text: str) -> None:
    made.add_argument("--why", type=_reason, default=None, help=text)


def _reason(text: str) -> str:
    # Kept for good, in one small object that every reader of the store parses, and shown on terminals.
    if not text.strip() or len(text) > REASON_LENGTH or not text.isprintable():
        raise argparse.ArgumentTypeError(f"the reason must be one line of 1 to {REASON_LENGTH:,} printable characters")
    return text.strip()


def read_settings() -> Settings:
    """Read the environment (ConfigError when a variable is wrong)."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).upper()
        raise ConfigError(f"environment: {name}: {first['msg']} (got {first['input']!r})") from error


def read_dataset(args: argparse.Namespace, settings: Settings) -> DatasetConfig:
    """Read the config that `--dataset` names, or the default one."""
    return load_config(args.dataset or settings.default_dataset)


def user_name() -> str:
    """Name who started the command, for the history of a store and the record of runs."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # In a container the user may have no name.
        return f"uid {os.getuid()}"


def run_command(command: Callable[[Sequence[str] | None], None], argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; a user's mistake prints one message and no traceback."""
    try:
        set_up_logging(read_settings().log_level)
        command(argv)
    except HousecastError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; finished outputs are whole, the unfinished one was discarded", file=sys.stderr)  # noqa: T201
        return 130
    except BrokenPipeError:
        return 0
    except OSError as error:
        print(f"error: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", file=sys.stderr)  # noqa: T201
        return 1
    return 0
