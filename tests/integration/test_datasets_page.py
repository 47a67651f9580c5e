"""docs/datasets.md, followed to the letter: its rows, its YAML and its commands, in a copy of the project."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from src import pipeline
from src.core.cli import run_command
from src.core.config import CONFIGS, PROJECT, DatasetConfig, Settings, load_config, parse_config
from src.core.errors import GateError, HousecastError
from src.core.store import open_store
from src.core.strict_yaml import StrictLoader
from src.core.workspace import SPLITS
from src.feature_pipeline import load, validate
from src.training_pipeline.gate import Line, Verdict
from tests.system_parts import require_program

PAGE = (PROJECT / "docs" / "datasets.md").read_text(encoding="utf-8")
LESSON, SHIPPED = PAGE.split("\n## Those that ship\n")
FLATS = "".join(re.findall(r"```yaml\n(.*?)```", LESSON, re.DOTALL))
COMMANDS = re.findall(r"```sh\n(.*?)```", LESSON, re.DOTALL)
PLACES = re.findall(r"^\| [^|]+ \| `([^` ]+)` \|$", LESSON.split("### What to look at")[1], re.MULTILINE)
MESSAGES = re.findall(r"^\| `([^`]+)` \|", LESSON.split("### When it does not run")[1], re.MULTILINE)


def block(kind: str) -> str:
    (code,) = re.findall(rf"```{kind}\n(.*?)```", LESSON, re.DOTALL)
    return code


def surroundings(root: Path) -> dict[str, str]:
    """Return the environment of somebody who works in `root`: the tools of this one, and none of its settings."""
    ours = {name.upper() for name in Settings.model_fields}
    # As nobody's sub-make: these tests run under make too.
    left = ("MAKE", "MFLAGS")
    kept = {name: value for name, value in os.environ.items() if name not in ours and not name.startswith(left)}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(root),
        "MAKEFLAGS": "UV=: RUN=",  # what is installed is taken as it is
        "THREADS": "1",  # quickest where rows are few and other tests run beside
    }


def shell(script: str, root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-ec", script], cwd=root, env=surroundings(root), capture_output=True, text=True)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, in which the page's files are written."""
    require_program("make", "make")
    root = tmp_path_factory.mktemp("clone")
    for folder in ("src", "configs"):
        shutil.copytree(PROJECT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "Makefile", root)
    (root / "make_flats.py").write_text(block("python"), encoding="utf-8")
    (root / "configs" / "flats.yaml").write_text(FLATS, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def said(project: Path) -> list[str]:
    """What the page's commands print, block by block; each must succeed."""
    printed = []
    for script in COMMANDS:
        done = shell(script, project)
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        printed.append(done.stdout + done.stderr)
    return printed


@pytest.mark.slow
def test_the_pages_commands_publish_a_model_and_leave_what_the_page_says(project: Path, said: list[str]) -> None:
    assert (project / "data" / "flats" / "flats.csv").read_text().startswith(block("csv"))
    assert "make run DATASET=flats" in COMMANDS[1]
    assert "Gate: passed" in said[1]
    assert "[8/8] batch: done" in said[1]
    assert len(PLACES) > 5
    assert [place for place in PLACES if not (project / place).exists()] == []
    store = open_store(None, Settings(workspace=project), project / "models")
    assert store.current("flats") is not None
    batch = pl.read_parquet(project / "predictions" / "flats" / "preds_all.parquet")
    assert batch.height == 120
    assert (batch["lower_80"] < batch["predicted_price"]).all()
    assert pl.read_csv(project / "predictions.csv")["predicted_price"].to_list() == batch["predicted_price"].to_list()
    (board,) = json.loads((project / "reports" / "flats" / "compare" / "leaderboard.json").read_text())
    assert {"xgboost", "linear", "random_forest", "area_only"} <= {one["name"] for one in board["entrants"]}
    assert json.loads((project / "data" / "flats" / "model" / "train.json").read_text())["variant"] == "random_forest"


@pytest.mark.slow
def test_the_commands_at_the_end_of_a_run_work_as_they_stand(said: list[str]) -> None:
    told = [line.strip().partition("  #")[0] for line in said[1].split("what next\n")[1].splitlines()]
    commands = [line for line in told if line.startswith("python ")]
    assert len(commands) == 3
    # They are among the page's, which were run.
    assert set(commands) < set(COMMANDS[2].splitlines())


@pytest.mark.parametrize(
    ("dataset", "told"),
    [
        ("india_rent", "kaggle:iamsouravbanerjee/house-rent-prediction-dataset and save it as data/india_rent/House_"),
        ("california", "kaggle:camnugent/california-housing-prices and save it as data/california/housing.csv"),
        ("amsterdam_rent", "set SQL_URL to the address of a database that has the table rent_apartments"),
    ],
)
def test_without_the_file_a_run_says_what_to_fetch(
    dataset: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(pipeline.main, ["--dataset", dataset]) == 2
    said = capsys.readouterr().err
    assert f"error: no data for {dataset}: get it from " in said
    assert told in said
    assert not list(tmp_path.iterdir()), "nothing is begun"


def test_make_run_ends_with_the_commands_own_code(project: Path) -> None:
    done = shell("DATA_ROOT=elsewhere make run DATASET=flats", project)
    assert done.returncode == 2
    assert "make_flats.py of docs/datasets.md and save it as elsewhere/flats/flats.csv" in done.stderr
    assert re.search(r"make: \*\*\* .*run\] Error 2", done.stderr)
    assert "Traceback" not in done.stderr


def test_make_run_takes_the_default_where_no_data_set_is_named(project: Path) -> None:
    plain, named = (shell(f"make -n run {argument}", project).stdout for argument in ("", "DATASET=iris"))
    assert plain.splitlines()[-1].strip() == "python -m src.pipeline"
    assert named.splitlines()[-1].strip() == "python -m src.pipeline --dataset 'iris'"
    assert "DATASET=" in shell("make help", project).stdout


def test_the_table_lists_every_data_set_that_ships() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", SHIPPED, re.MULTILINE)
    assert sorted(listed) == sorted(path.stem for path in CONFIGS.glob("*.yaml"))
    for name in listed:
        origin = (load_config(name).source.origin or "").removeprefix("kaggle:")
        line = next(line for line in SHIPPED.splitlines() if line.startswith(f"| `{name}`"))
        assert ("/" not in origin) or (origin in line) or ("arXiv" in origin)
        assert f"{load_config(name).split.by}" in line


def edited(edit: Callable[[dict[str, Any]], Any]) -> DatasetConfig:
    content = yaml.load(FLATS, StrictLoader)
    edit(content)
    return parse_config(yaml.safe_dump(content, sort_keys=False), "flats.yaml")


def loaded(tmp_path: Path, rows: str, edit: Callable[[dict[str, Any]], Any] = lambda _: None) -> None:
    (tmp_path / "flats.csv").write_text(rows)
    settings = Settings(workspace=tmp_path, data_root=tmp_path / "none", threads=1)
    load.run(edited(edit), str(tmp_path / "flats.csv") if rows else None, settings, tmp_path / "raw")


HEADER = "area,rooms,district,furnished,floor,price\n"
ROWS = HEADER + "".join(f"{area},2,Dunes,yes,1 of 2,{area * 10}\n" for area in range(30, 60))


def refused(tmp_path: Path) -> None:
    loaded(tmp_path, ROWS.replace(",300\n", ",9000\n"))
    raw = {split: pl.read_parquet(tmp_path / "raw" / f"{split}.parquet") for split in SPLITS}
    assert sum(frame.height for frame in raw.values()) == 30
    validate.run(edited(lambda _: None), tmp_path / "raw", tmp_path / "quality")


CAUSES: dict[str, Callable[[Path], Any]] = {
    "no data for flats: get it from": lambda path: loaded(path, ""),
    "lacks the column": lambda path: loaded(path, ROWS.replace("floor", "storey")),
    "could not parse": lambda path: loaded(path, HEADER + "30,2,Dunes,yes,1 of 2,on request\n" * 9),
    "is not among the columns": lambda _: edited(lambda c: c.update(place="distrikt")),
    "is a text column, and a number column is needed there": lambda _: edited(
        lambda c: c["features"][0]["columns"].append("district")
    ),
    "which is the target or leaks it": lambda _: edited(lambda c: c["features"][0]["columns"].append("price")),
    "Extra inputs are not permitted": lambda _: edited(lambda c: c.update(feature=[])),
    "split is empty": lambda path: loaded(path, HEADER + "30,2,Dunes,yes,1 of 2,300\n" * 9),
    "a critical expectation failed": refused,
    "is not promoted": lambda _: Verdict((Line("eval mape", 0.2, "<=", 0.12),)).require("v1"),
}


@pytest.mark.parametrize("message", MESSAGES)
def test_the_errors_are_those_that_the_page_explains(message: str, tmp_path: Path) -> None:
    with pytest.raises(HousecastError, match=re.escape(message)) as caught:
        CAUSES[message](tmp_path)
    assert caught.value.exit_code == (1 if isinstance(caught.value, GateError) else 2)
