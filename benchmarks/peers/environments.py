"""The environments of the peers whose packages conflict with the locked ones: built once, outside the project."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from src.core.config import PROJECT
from src.core.errors import ConfigError

# Each with what makes it fastest: uvicorn takes uvloop and httptools where they are installed.
REQUIREMENTS = {
    "bentoml": ("bentoml==1.4.40", "numpy==2.4.6", "uvicorn==0.54.0", "uvloop==0.23.0", "httptools==0.9.0"),
    "mlserver": ("mlserver==1.7.1", "numpy==2.4.6", "uvicorn==0.54.0", "uvloop==0.23.0", "httptools==0.9.0"),
}
XGBOOST = "xgboost==3.2.0" if sys.platform == "darwin" else "xgboost-cpu==3.2.0"


def built(name: str) -> Path | None:
    """Return the `bin` folder of an environment, None where it is not built or was built from other requirements."""
    folder = _folder(name)
    return folder / "bin" if (folder / "complete").is_file() else None


def build(name: str) -> Path:
    """Return the `bin` folder of an environment, after building it where that has not been done.

    Raises:
        ConfigError: uv is missing, or a package cannot be had.
    """
    folder, uv = _folder(name), _uv()
    if not (folder / "complete").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
        python = str(folder / "bin" / "python")
        _run([uv, "pip", "install", "--quiet", "--python", python, XGBOOST, *REQUIREMENTS[name]])
        (folder / "complete").touch()
    return folder / "bin"


def _folder(name: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    pinned = " ".join((XGBOOST, *REQUIREMENTS[name], sys.version))
    return cache / "housecast-benchmarks" / f"{name}-{hashlib.sha256(pinned.encode()).hexdigest()[:12]}"


def _uv() -> str:
    # The Makefile's: `uv run` tells where it is, else beside the project.
    found = os.environ.get("UV") or shutil.which("uv") or shutil.which("uv", path=str(PROJECT / ".tools" / "bin"))
    if found is None:
        raise ConfigError("uv is not installed, which builds the environments of the peers: run `make install`")
    return found


def _run(command: list[str]) -> None:
    # Started from `uv run` or from an activated environment, which must not be the one that is changed.
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    try:
        subprocess.run(command, env=environment, check=True)
    except subprocess.CalledProcessError as error:
        raise ConfigError(f"{' '.join(command[1:4])} failed, see above: is a package index within reach?") from error
