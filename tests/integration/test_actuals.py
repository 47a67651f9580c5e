"""What came true joins what was predicted, in both databases and in the batch's files; twice, late and corrected."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

from src.core import sealed_parquet
from src.core.cli import run_command
from src.core.config import Settings, load_config
from src.core.errors import ConfigError, DataError
from src.core.predictions_store import FolderPredictions, file_name
from src.monitoring import actuals as told
from src.monitoring.recorded import joined
from src.monitoring.tables import actuals
from src.monitoring.writer import Record, Writer

HOUSETS = load_config("housets")
FIRST, SECOND = datetime(2023, 7, 1, tzinfo=UTC), datetime(2023, 8, 1, tzinfo=UTC)


def write(path: Path, *rows: tuple[str, str, float | None]) -> Path:
    pl.DataFrame(rows, schema=["zipcode", "date", "price"], orient="row").write_csv(path)
    return path


def values(path: Path, *rows: tuple[str, str, float | None]) -> pl.DataFrame:
    return told.read(write(path, *rows), HOUSETS)[0]


def record(kept: Settings) -> None:
    """Predict three ZIP codes in May, one of them twice."""
    writer = Writer(kept)
    for number, zipcode in enumerate(["2139", "77005", "60614", "02139"]):
        asked = json.dumps([{"zipcode": zipcode, "date": "2023-05-31"}]).encode()
        said = json.dumps({"predictions": [1e5 * (number + 1)], "intervals": {}, "flags": [[]]}).encode()
        writer.put(
            Record(FIRST, f"r{number}", "housets", "v1", "champion", 200, 1, "2023-05", "2023-05", 1.0, asked, said)
        )
    writer.stop(60)


def predicted(engine: sa.Engine) -> list[tuple[str, float, float | None]]:
    """Return what was predicted for May, with what came true."""
    found = joined(engine, HOUSETS, ["2023-05"])
    return found.sort("request_id").select("key", "estimate", "value").rows()


def test_values_join_predictions_and_come_twice_late_and_corrected(
    kept: Settings, engine: sa.Engine, tmp_path: Path
) -> None:
    record(kept)
    first = values(tmp_path / "a.csv", ("2139", "2023-05-31", 5e5), ("77005", "2023-05-31", 6e5))
    assert told.tell(first, HOUSETS, engine, "a", FIRST) == (2, 0, 0)
    assert told.tell(first, HOUSETS, engine, "a", FIRST) == (0, 0, 2)
    assert predicted(engine) == [
        ('["02139"]', 1e5, 5e5),
        ('["77005"]', 2e5, 6e5),
        ('["60614"]', 3e5, None),
        ('["02139"]', 4e5, 5e5),
    ]
    second = values(
        tmp_path / "b.csv", ("02139", "2023-05-31", 5.5e5), ("60614", "2023-05-01", 7e5), ("77005", "2023-05-31", 6e5)
    )
    assert told.tell(second, HOUSETS, engine, "b", SECOND) == (1, 1, 1)
    assert [row[2] for row in predicted(engine)] == [5.5e5, 6e5, 7e5, 5.5e5]
    with engine.connect() as connection:
        found = connection.execute(sa.select(actuals).order_by(actuals.c.key)).mappings().all()
    assert [(row["key"], row["month"], row["value"], row["corrections"], row["source"]) for row in found] == [
        ('["02139"]', "2023-05", 5.5e5, 1, "b"),
        ('["60614"]', "2023-05", 7e5, 0, "b"),
        ('["77005"]', "2023-05", 6e5, 0, "a"),
    ]
    assert [(row["received_at"], row["corrected_at"]) for row in found] == [
        (FIRST, SECOND),
        (SECOND, None),
        (FIRST, None),
    ]


def test_the_batchs_file_gets_the_values_and_keeps_the_rest(tmp_path: Path) -> None:
    output = FolderPredictions(tmp_path / "predictions")
    frame = pl.DataFrame(
        {
            "zipcode": ["02139", "77005", "60614"],
            "date": [date(2023, 5, 31)] * 3,
            "predicted_price": [1.0, 2.0, 3.0],
            "actual_price": [None, 9.0, None],
            "model_version": ["v1"] * 3,
        },
        schema_overrides={"actual_price": pl.Float64},
    )
    output.put(file_name("2023-05"), sealed_parquet.to_bytes(frame))
    known = values(
        tmp_path / "a.csv", ("2139", "2023-05-31", 5e5), ("77005", "2023-06-30", 6e5), ("10001", "2023-05-31", 1e6)
    )
    assert told.fill(known, HOUSETS, output) == {"2023-05": 1}
    filled = pl.read_parquet(tmp_path / "predictions" / "preds_2023_05.parquet")
    assert filled.columns == frame.columns
    assert filled["actual_price"].to_list() == [5e5, 9.0, None]
    assert filled.drop("actual_price").equals(frame.drop("actual_price"))
    tag = output.files()[0].tag
    assert told.fill(known, HOUSETS, output) == {}
    assert output.files()[0].tag == tag


def test_a_file_that_cannot_be_true_is_refused_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    for rows, said in (
        ([("2139", "2023-05-31", 5e5), ("02139", "2023-05-01", 6e5)], "2 rows tell different values of the same key"),
        ([("2139", "", 5e5)], "column date: 1 rows have none"),
        ([("2139", "2023-05-31", -5.0)], "column price: 1 values are not between 1 and inf, for example -5.0"),
    ):
        with pytest.raises(DataError, match=said):
            values(path, *rows)
    made, empty = told.read(write(path, ("2139", "2023-05-31", 5e5), ("77005", "2023-05-31", None)), HOUSETS)
    assert (made.rows(), empty) == ([('["02139"]', "2023-05", 5e5)], 1)
    with pytest.raises(ConfigError, match="joined by key and month"):
        told.read(path, load_config("iris"))


def test_the_command_says_what_became_of_a_file(
    kept: Settings,
    engine: sa.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WORKSPACE", str(tmp_path))
    if kept.database_url:
        monkeypatch.setenv("DATABASE_URL", kept.database_url.get_secret_value())
    record(kept)
    path = write(tmp_path / "a.csv", ("2139", "2023-05-31", 5e5), ("77005", "2023-05-31", None))
    assert run_command(told.main, ["--input", str(path)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "1 values: 1 new, 0 corrected, 0 known already; 1 rows have no value yet",
        "2 recorded predictions of these months have what came true",
    ]
    assert run_command(told.main, ["--input", str(tmp_path / "none.csv")]) == 2
    assert "none.csv" in capsys.readouterr().err
