"""Every benchmark runs on small data and prints its rows and ratios; what it measures there means nothing."""

import re
from pathlib import Path

import pytest

from benchmarks import __main__ as benchmarks
from src.core.errors import GateError

pytestmark = pytest.mark.slow

# What each table must carry: its ways, and how many ratios.
ROWS = {
    "features": (["housecast", "pandas", "pandas, features only", "pandas, CSV stages"], 4),
    "trees": (["XGBoost predict", "XGBoost inplace_predict", "compiled trees"], 0),
    "training": (["housecast", "bare xgboost.train"], 2),
    "predictor": (
        [
            "housecast",
            "bare inplace_predict",
            "pandas frame",
            "housecast, explained",
            "housecast, frame",
            "bare predict",
        ],
        10,
    ),
    "bulk": (
        ["Arrow to Arrow", "Parquet to Parquet", "CSV to CSV", "NDJSON to NDJSON", "NDJSON to Arrow"],
        13,
    ),
    # BentoML and MLServer as well where their environments are built.
    "serving": (["housecast", "FastAPI and pandas", "MLflow scoring server"], 12),
    "soak": (["all", "while a version is swapped in", "otherwise"], 0),
    "summary": (["overall", "by month", "by region", "by both", "a page of one region, by price"], 10),
    "dashboard": ([], 0),
    "accuracy": (
        [f"{split} {score}" for split in ("eval", "holdout") for score in ("MAE", "RMSE", "MAPE", "MdAPE")],
        0,
    ),
}


@pytest.mark.parametrize("name", benchmarks.NAMES)
def test_a_benchmark_runs_small_and_prints_its_rows_and_ratios(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    benchmarks.main(["--smoke", "--only", name, "--save", "--results", str(tmp_path)])
    printed = (tmp_path / f"{name}.txt").read_text()
    rows, ratios = ROWS[name]
    first_cells = [line.split("│")[1].strip() for line in printed.splitlines() if line.startswith("│")]
    assert set(rows) <= set(first_cells)
    assert len(re.findall(r"│\s+\d+\.\d+x\s+│", printed)) >= ratios
    assert "cores; Python" in printed
    assert printed in capfd.readouterr().out


def test_a_benchmark_that_fails_is_named_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    codes = {"trees": 1, "features": 0}
    monkeypatch.setattr(benchmarks, "run", lambda name, _: (f"{name} ran\n", codes[name]))
    with pytest.raises(GateError, match="missed what is promised: trees; see above"):
        benchmarks.main(["--only", "trees", "features", "--save", "--results", str(tmp_path)])
    assert {path.name for path in tmp_path.iterdir()} == {"trees.txt", "features.txt"}


def test_nothing_is_written_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks, "run", lambda name, _: ("ran\n", 0))
    benchmarks.main(["--smoke", "--results", str(tmp_path)])
    assert not any(tmp_path.iterdir())
