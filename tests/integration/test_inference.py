"""A file in, the same rows with prices out."""

from pathlib import Path

import polars as pl
import pytest

from src.core.cli import run_command
from src.core.config import load_config
from src.core.errors import DataError
from src.inference_pipeline import inference
from tests.conftest import Published

ADDED = ["predicted_price", "lower_80", "upper_80", "lower_95", "upper_95", "flags"]


def arguments(published: Published, source: Path, output: Path) -> list[str]:
    return ["--input", str(source), "--output", str(output), "--store", str(published.space.store)]


def test_the_inputs_rows_come_back_as_they_were_with_prices(published: Published, tmp_path: Path) -> None:
    source, output = published.space.raw / "holdout.csv", tmp_path / "priced.csv"
    assert run_command(inference.main, arguments(published, source, output)) == 0
    before, after = (pl.read_csv(path, infer_schema=False) for path in (source, output))
    assert after.columns == [*before.columns, *ADDED]
    assert after.select(before.columns).equals(before)
    assert after["predicted_price"].cast(pl.Float64).min() > 0


def test_csv_and_parquet_are_priced_alike(published: Published, tmp_path: Path) -> None:
    for kind in ("csv", "parquet"):
        source = published.space.raw / f"holdout.{kind}"
        assert run_command(inference.main, arguments(published, source, tmp_path / f"{kind}.parquet")) == 0
    priced = [pl.read_parquet(tmp_path / f"{kind}.parquet").select(ADDED) for kind in ("csv", "parquet")]
    assert priced[0].equals(priced[1])


def test_the_files_own_spelling_of_zip_codes_is_understood_and_kept(published: Published, tmp_path: Path) -> None:
    frame = pl.read_csv(published.space.raw / "holdout.csv", infer_schema=False)
    stripped = frame.with_columns(pl.col("zipcode").str.strip_chars_start("0"))
    frame.write_csv(tmp_path / "padded.csv")
    stripped.write_csv(tmp_path / "stripped.csv")
    for name in ("padded", "stripped"):
        run_command(inference.main, arguments(published, tmp_path / f"{name}.csv", tmp_path / f"{name}.out.csv"))
    padded, other = (pl.read_csv(tmp_path / f"{name}.out.csv", infer_schema=False) for name in ("padded", "stripped"))
    assert other.select(ADDED).equals(padded.select(ADDED))
    assert other["zipcode"].to_list() == stripped["zipcode"].to_list()


def test_pricing_a_priced_file_replaces_the_prices(published: Published, tmp_path: Path) -> None:
    once, twice = tmp_path / "once.csv", tmp_path / "twice.csv"
    run_command(inference.main, arguments(published, published.space.raw / "holdout.csv", once))
    run_command(inference.main, arguments(published, once, twice))
    assert twice.read_text() == once.read_text()


def test_a_file_without_rows_gives_a_file_without_rows(published: Published, tmp_path: Path) -> None:
    pl.read_csv(published.space.raw / "holdout.csv", infer_schema=False).clear().write_csv(tmp_path / "none.csv")
    assert run_command(inference.main, arguments(published, tmp_path / "none.csv", tmp_path / "out.csv")) == 0
    out = pl.read_csv(tmp_path / "out.csv")
    assert out.height == 0
    assert out.columns[-len(ADDED) :] == ADDED


def test_bad_input_ends_with_code_2_one_line_and_the_old_output(
    published: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.csv"
    output.write_text("yesterday's")
    frame = pl.read_csv(published.space.raw / "holdout.csv", infer_schema=False)
    frame.drop("inventory").write_csv(tmp_path / "short.csv")
    frame.with_columns(inventory=pl.lit("many")).write_csv(tmp_path / "text.csv")
    for name, said in {
        "short": "error: the input lacks the column inventory",
        "text": "column inventory: ",
        "gone": "error: no such file",
    }.items():
        assert run_command(inference.main, arguments(published, tmp_path / f"{name}.csv", output)) == 2
        err = capsys.readouterr().err
        assert said in err
        assert "Traceback" not in err
    assert run_command(inference.main, arguments(published, tmp_path / "short.csv", tmp_path / "out.xlsx")) == 2
    assert output.read_text() == "yesterday's"


def test_an_empty_store_says_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(inference.main, ["--store", str(tmp_path), "--output", str(tmp_path / "o.csv")]) == 1
    assert "run `python -m src.pipeline --dataset housets`" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["holdout[1].csv", "holdout*.parquet", "HOLDOUT.PARQUET", "folder[1]/a.parquet"])
def test_a_path_is_never_a_pattern(published: Published, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes((published.space.raw / f"holdout{path.suffix.lower()}").read_bytes())
    source = path.parent if "/" in name else path
    assert run_command(inference.main, arguments(published, source, tmp_path / "out.parquet")) == 0
    assert (
        pl.read_parquet(tmp_path / "out.parquet").height
        == pl.read_parquet(published.space.raw / "holdout.parquet").height
    )


def test_a_frame_may_write_missing_as_nan(published: Published) -> None:
    rows = pl.read_parquet(published.space.raw / "holdout.parquet").head(50)
    numbers = [name for name, kind in rows.schema.items() if kind == pl.Float64]
    said = published.predictor.predict(rows.with_columns(pl.col(numbers).fill_null(float("nan"))))
    assert said.estimate.tolist() == published.predictor.predict(rows).estimate.tolist()


def test_a_file_with_both_names_of_a_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "both.csv").write_text("metro,city_full\nA,B\n")
    with pytest.raises(DataError, match="city_full"):
        inference.read_rows(tmp_path / "both.csv", load_config("dc_house"))
