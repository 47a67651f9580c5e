import json
import re
import struct
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from src.core.config import DatasetConfig, Segment
from src.core.errors import DataError
from src.training_pipeline import charts, gate, report, scorecard
from src.training_pipeline.charts import Curve
from src.training_pipeline.scorecard import Estimates


def said(split: str, n: int = 300, seed: int = 0, levels: tuple[float, ...] = (0.8,)) -> Estimates:
    rng = np.random.default_rng(seed)
    y = rng.lognormal(12.5, 0.5, n)
    yhat = y * rng.lognormal(0, 0.08, n)
    cities = ["<b>&co"] * 12 + ["small town"] * 5 + ["big"] * (n - 17)
    meta = pl.DataFrame({"date": [date(2020, 1 + i % 12, 28) for i in range(n)], "city_full": cities, "price": y})
    last = np.where(np.arange(n) % 3 == 0, y * 1.01, np.nan)
    beside = {"median": np.full(n, np.median(y)), "linear": y * 1.2, "last_known": last}
    return Estimates(split, y, yhat, meta, beside, dict.fromkeys(levels, (yhat * 0.9, yhat * 1.1)))


def test_scorecard_scores_baselines_on_the_rows_they_know(config: DatasetConfig) -> None:
    card = scorecard.judge(said("eval"), config)
    assert card.n == 300
    assert card.baselines["median"].n == 300
    assert card.baselines["last_known"].n == 100
    assert card.baselines["last_known"].scores["mape"] == pytest.approx(0.01)
    assert card.baselines["last_known"].model["mape"] != card.scores["mape"]
    assert card.missing_levels == (0.95,)
    assert {"mape", "COD", "coverage_80"} <= set(card.values())


def test_segments_hold_every_row_once_and_small_ones_say_so(config: DatasetConfig) -> None:
    card = scorecard.judge(said("eval"), config)
    for rows in card.segments.values():
        assert sum(row.n for row in rows) == 300
    metros = {row.value: row for row in card.segments["metro"]}
    assert metros["small town"].scores is None
    assert metros["big"].scores is not None
    assert metros["big"].ratios is not None
    assert metros["big"].coverage[0].level == 0.8
    assert [row.value for row in card.segments["month"]] == [f"2020-{m:02d}" for m in range(1, 13)]
    deciles = card.segments["price_decile"]
    assert [row.n for row in deciles] == [30] * 10
    assert deciles[0].value.startswith("1: ")


def test_deciles_of_equal_prices_and_missing_groups_are_kept(config: DatasetConfig) -> None:
    y = np.array([5.0] * 30)
    meta = pl.DataFrame(
        {"date": [date(2020, 1, 1)] * 30, "city_full": [None] * 30}, schema_overrides={"city_full": pl.String}
    )
    card = scorecard.judge(Estimates("eval", y, y * 1.1, meta), config)
    assert sum(row.n for row in card.segments["price_decile"]) == 30
    assert [row.value for row in card.segments["metro"]] == ["(missing)"]
    assert card.ratios is None
    assert "all 30 are 5" in card.ratio_note
    assert "r2" not in card.scores


def test_an_empty_split_is_named(config: DatasetConfig) -> None:
    empty = np.empty(0)
    meta = pl.DataFrame(schema={"date": pl.Date, "city_full": pl.String})
    with pytest.raises(DataError, match="holdout: metrics need at least one row"):
        scorecard.judge(Estimates("holdout", empty, empty, meta), config)


def test_segment_groups_are_found_for_numbers_too() -> None:
    one = said("eval", 20)
    column = Segment(name="price", by="column", column="price")
    index, names = scorecard.segment_values(column, one, "date")
    assert len(names) == 20
    assert sorted(index.tolist()) == list(range(20))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, config: DatasetConfig) -> Path:
    out = tmp_path_factory.mktemp("evaluation")
    both = [said("eval"), said("holdout", charts.MAX_POINTS * 4, seed=1)]
    cards = {one.split: scorecard.judge(one, config) for one in both}
    verdict = gate.judge(config, cards, None, "no current model")
    curve = Curve("eval", np.array([0.5, 0.8]), np.array([0.4, 0.7]), "(cross-fitted)")
    assert report.write(out, config, cards, verdict, charts.charts(both, [curve], config)) == out / "index.html"
    return out


def test_the_report_is_whole(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    plots = ("predicted_vs_actual", "residuals", "calibration")
    assert names == {"index.html", "scores.json", *(f"{p}.{kind}" for p in plots for kind in ("html", "png"))}


def test_the_summary_page_stands_alone_and_escapes(folder: Path) -> None:
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "<b>&co" not in page
    assert "&lt;b&gt;&amp;co" in page
    assert page.count("data:image/png;base64,") == 3
    assert "https://" not in page
    for text in ("not enough data", "last known (needs history)", "median of train", "linear model", "20,000 rows"):
        assert text in page
    assert not re.search(r"e\+\d\d</td>", page), "prices are written out"
    assert 'class="out"' in page
    assert 'class="in"' in page
    assert len(page) < 3_000_000


def test_scores_are_json_without_nan(folder: Path) -> None:
    content = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    assert set(content) == {"eval", "holdout", "gate"}
    assert content["eval"]["baselines"]["last_known"]["n"] == 100
    assert content["eval"]["ratios"]["COD"]["low"] == 5
    assert content["gate"]["passed"] is True


def test_plots_are_pictures_and_pages_with_few_points(folder: Path) -> None:
    for path in folder.glob("*.png"):
        head = path.read_bytes()[:24]
        assert head.startswith(b"\x89PNG")
        assert struct.unpack(">I", head[16:20])[0] > 800
    for path in folder.glob("*.html"):
        assert path.stat().st_size < 6_500_000, path.name
    page = (folder / "predicted_vs_actual.html").read_text(encoding="utf-8")
    assert "predicted home value (USD)" in page
    assert "20,000 rows, 5,000 shown" in page
    assert "cdn.plot.ly" not in page.split("<script", 1)[0]


def test_points_are_sampled_the_same_way_each_time(config: DatasetConfig) -> None:
    big = said("holdout", charts.MAX_POINTS + 1)
    first, again = (charts.charts([big], [], config) for _ in range(2))
    x = first[0].panels[0].series[0].x
    assert len(x) == charts.MAX_POINTS
    np.testing.assert_array_equal(x, again[0].panels[0].series[0].x)
