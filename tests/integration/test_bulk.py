"""Bodies of any format are priced like frames, and a row that cannot be priced says why beside those that can."""

import io
import json
import math
import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from src.core.config import load_config
from src.core.errors import DataError
from src.inference_pipeline import bulk, bulk_blocks
from src.inference_pipeline.bulk import Format, Tally, score
from src.inference_pipeline.bulk_arrow import END
from tests.flowers import iris_predictor
from tests.serving import Small

CSV, NDJSON, PARQUET, ARROW = Format
ADDED = ["predicted_price", "lower_80", "upper_80", "lower_95", "upper_95", "flags", "error"]
TYPED = (PARQUET, ARROW)


@pytest.fixture(scope="module")
def rows(small: Small) -> pl.DataFrame:
    """Rows with the values of the raw file, and a column that no config knows."""
    return pl.DataFrame(small.rows[:60]).with_columns(id=pl.format("a,{}", pl.int_range(60)))


def written(frame: pl.DataFrame, kind: Format) -> bytes:
    stream = io.BytesIO()
    write = {
        CSV: frame.write_csv,
        NDJSON: frame.write_ndjson,
        PARQUET: frame.write_parquet,
        ARROW: frame.write_ipc_stream,
    }[kind]
    write(stream)
    return stream.getvalue()


def read(body: bytes, kind: Format) -> pl.DataFrame:
    if kind == CSV:
        return pl.read_csv(body, infer_schema=False)
    if kind == NDJSON:
        # Polars gives columns in no order.
        return pl.read_ndjson(body, infer_schema_length=None).select(list(json.loads(body.splitlines()[0])))
    return pl.read_parquet(body) if kind == PARQUET else pl.read_ipc_stream(body)


def scored(body: bytes | Path, kind: Format, small: Small, answer: Format, **options: Any) -> pl.DataFrame:
    found = read(b"".join(score(body, kind, small.predictor, answer, **options)), answer)
    return found.cast(dict.fromkeys(ADDED[:5], pl.Float64)) if answer == CSV else found


@pytest.mark.parametrize("answer", Format)
@pytest.mark.parametrize("kind", Format)
def test_any_format_is_priced_into_any_other(
    small: Small, rows: pl.DataFrame, kind: Format, answer: Format, tmp_path: Path
) -> None:
    path = tmp_path / "body"
    path.write_bytes(written(rows, kind))
    found = scored(path, kind, small, answer, rows=25, threads=2, folder=tmp_path)
    assert found.columns == [*rows.columns, *ADDED]
    assert found["error"].null_count() == rows.height
    wanted = small.predictor.predict(rows).frame("price")
    assert found["predicted_price"].to_list() == wanted["predicted_price"].to_list()
    assert found.select(ADDED[:5]).equals(wanted.select(ADDED[:5]))
    assert found["flags"].fill_null("").to_list() == wanted["flags"].to_list()
    before = rows.cast(pl.String) if CSV in (kind, answer) else rows
    assert found.select(rows.columns).cast(dict(before.schema)).equals(before)
    assert [one.name for one in tmp_path.iterdir()] == ["body"]


FAULTS: dict[int, tuple[str, Any, str]] = {
    1: ("inventory", "many", "inventory: must be a number, not 'many'"),
    3: ("zipcode", None, "zipcode: is required and has no value"),
    5: ("date", "soon", "date: must be a date like 2021-05-31, not 'soon'"),
    7: ("median_ppsf", "1e39", "median_ppsf: must be a finite number, not 1e39"),
    9: ("homes_sold", "-1", "homes_sold: must be at least 0, not -1"),
    11: ("sold_above_list", "1.5", "sold_above_list: must be at most 1, not 1.5"),
    13: ("mall", "inf", "mall: must be a finite number, not inf"),
}


@pytest.mark.parametrize("kind", Format)
@pytest.mark.parametrize("batch", [4, 100])
def test_a_bad_row_says_why_and_the_others_are_priced(
    small: Small, rows: pl.DataFrame, kind: Format, batch: int
) -> None:
    spoiled = rows.head(15).cast(pl.String)
    number = pl.int_range(pl.len())
    for row, (name, value, _) in FAULTS.items():
        spoiled = spoiled.with_columns(pl.when(number == row).then(pl.lit(value)).otherwise(name).alias(name))
    tally = Tally()
    found = scored(written(spoiled, kind), kind, small, ARROW, rows=batch, tally=tally)
    assert found["error"].to_list() == [FAULTS[row][2] if row in FAULTS else None for row in range(15)]
    assert (tally.rows, tally.refused) == (15, len(FAULTS))
    good = [row for row in range(15) if row not in FAULTS]
    wanted = small.predictor.predict(rows[good]).frame("price")
    assert found[good].select(wanted.columns).equals(wanted)
    assert found[list(FAULTS)].select(wanted.columns).null_count().row(0) == (len(FAULTS),) * wanted.width
    assert found.select(rows.columns).equals(spoiled)


def test_numbers_may_be_written_as_numbers_of_any_kind_or_as_text(small: Small, rows: pl.DataFrame) -> None:
    wanted = scored(written(rows, ARROW), ARROW, small, ARROW)
    numbers = [name for name, kind in rows.schema.items() if kind == pl.Float64]
    texts = rows.with_columns(pl.col(numbers).cast(pl.String).cast(pl.Categorical))
    whole = rows.with_columns(pl.col("inventory", "mall").cast(pl.Int32), zipcode=pl.col("zipcode").cast(pl.Int64))
    for other in (texts, whole):
        assert scored(written(other, ARROW), ARROW, small, ARROW).select(ADDED).equals(wanted.select(ADDED))


def test_lines_of_ndjson_come_back_as_they_were_written(small: Small, rows: pl.DataFrame) -> None:
    lines = [json.dumps({**row, "note": {"é": [1.10, None]}, "big": 10**30}) for row in rows.head(6).to_dicts()]
    lines[1] = lines[1].replace(" ", "")[:-1] + "  }\r"
    lines[3] = "not JSON"
    lines[4] = "{}"
    body = ("\ufeff" + "\n".join([*lines[:5], "", lines[5]])).encode()
    answer = b"".join(score(body, NDJSON, small.predictor, NDJSON)).decode().split("\n")
    assert answer.pop() == ""
    said = [json.loads(line) for line in answer]
    assert len(said) == 6
    for row in (0, 1, 2, 5):
        assert answer[row].startswith(lines[row].rstrip("\r}").rstrip() + ',"predicted_price":')
        assert said[row]["error"] is None
    assert said[3] == {**dict.fromkeys(ADDED), "error": "the line is not a JSON object"}
    assert list(said[4]) == ADDED
    assert said[4]["error"].startswith("date: is required and has no value; ")


@pytest.mark.parametrize("value", ['"7"', "7", "7.0", "7e0"], ids=["text", "whole", "real", "exponent"])
def test_a_number_in_json_is_the_same_however_it_is_written(small: Small, rows: pl.DataFrame, value: str) -> None:
    line = json.dumps({**rows.to_dicts()[0], "inventory": "?"}).replace('"?"', value)
    wanted = small.predictor.predict([{**rows.to_dicts()[0], "inventory": 7.0}]).estimate[0]
    for answer in Format:
        assert scored(line.encode(), NDJSON, small, answer)["predicted_price"].to_list() == [wanted]


@pytest.mark.parametrize("value", ["true", "[1]", '{"a": 1}', "1e999", '"NaN "'])
def test_what_is_no_number_in_json_is_not_priced(small: Small, rows: pl.DataFrame, value: str) -> None:
    lines = [json.dumps(row) for row in rows.head(3).to_dicts()]
    lines[1] = json.dumps({**rows.to_dicts()[1], "inventory": "?"}).replace('"?"', value)
    body = "\n".join(lines).encode()
    told = [json.loads(line)["error"] for line in b"".join(score(body, NDJSON, small.predictor, NDJSON)).splitlines()]
    for errors in (told, scored(body, NDJSON, small, ARROW)["error"].to_list()):
        assert [error is None for error in errors] == [True, False, True]
        assert errors[1].startswith("inventory: must be a")


def test_csv_survives_what_editors_do_to_it(small: Small, rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = rows.head(12).with_columns(note=pl.lit('two\r\nlines, "quoted"'), empty=pl.lit(None, pl.String))
    text = noted.write_csv(line_terminator="\r\n")
    wanted = scored(text.encode(), CSV, small, CSV)
    monkeypatch.setattr(bulk_blocks, "BLOCK", 700)
    found = scored(("\ufeff" + text.rstrip()).encode(), CSV, small, CSV)
    assert found.equals(wanted)
    assert set(found["note"]) == {'two\r\nlines, "quoted"'}
    assert found["error"].null_count() == noted.height


def test_texts_for_missing_are_missing_and_kept(small: Small, rows: pl.DataFrame) -> None:
    without = rows.with_columns(inventory=None)
    wanted = small.predictor.predict(without.cast({"inventory": pl.Float64})).estimate.tolist()
    for text in ("NA", "null", "NaN", "", '""'):
        body = rows.cast(pl.String).with_columns(inventory=pl.lit("?")).write_csv().replace(",?,", f",{text},")
        found = scored(body.encode(), CSV, small, CSV)
        assert found["predicted_price"].to_list() == wanted
        assert set(found["inventory"]) == {text.strip('"') if text == '""' else text or None}


def test_lines_that_are_not_whole_are_rows_without_a_price(small: Small, rows: pl.DataFrame) -> None:
    lines = rows.head(5).write_csv().splitlines()
    lines[2] = lines[2].rpartition(",")[0].rpartition(",")[0]
    lines[4] += ",more"
    found = scored("\n".join([*lines[:3], "", *lines[3:]]).encode(), CSV, small, ARROW)
    assert found["error"].to_list() == [
        None,
        f"the line has {rows.width - 1} fields, and the header has {rows.width}",
        None,
        f"the line has {rows.width + 1} fields, and the header has {rows.width}",
        None,
    ]
    wanted = small.predictor.predict(rows.head(5)).estimate.tolist()
    assert found["predicted_price"].to_list() == [wanted[0], None, wanted[2], None, wanted[4]]


@pytest.mark.parametrize("kind", Format)
@pytest.mark.parametrize("answer", Format)
def test_columns_of_an_earlier_answer_are_replaced(
    small: Small, rows: pl.DataFrame, kind: Format, answer: Format
) -> None:
    once = b"".join(score(written(rows, kind), kind, small.predictor, answer))
    twice = b"".join(score(once, answer, small.predictor, answer))
    assert read(twice, answer).equals(read(once, answer))


@pytest.mark.parametrize("kind", Format)
@pytest.mark.parametrize("answer", Format)
def test_a_missing_column_is_told_before_the_first_byte(
    small: Small, rows: pl.DataFrame, kind: Format, answer: Format
) -> None:
    pieces = score(written(rows.drop("inventory", "city_full"), kind), kind, small.predictor, answer)
    with pytest.raises(DataError, match="the input lacks the columns inventory, city_full"):
        next(pieces)


@pytest.mark.parametrize("answer", Format)
@pytest.mark.parametrize("kind", Format)
def test_no_rows_give_no_rows(small: Small, rows: pl.DataFrame, kind: Format, answer: Format) -> None:
    body = b"".join(score(written(rows.clear(), kind), kind, small.predictor, answer))
    if answer == NDJSON:
        assert body == b""
    else:
        found = read(body, answer)
        assert found.height == 0
        # A body of no lines does not say which columns it has.
        assert found.columns == [*([] if kind == NDJSON else rows.columns), *ADDED]


@pytest.mark.parametrize("value", [[1], True, {"a": 1}, b"x"])
def test_a_column_of_another_kind_is_told_before_the_first_byte(
    small: Small, rows: pl.DataFrame, value: object
) -> None:
    name = "city_full" if isinstance(value, bytes) else "inventory"
    strange = rows.with_columns(pl.Series(name, [value] * rows.height))
    for kind in TYPED:
        with pytest.raises(DataError, match=f"the input: column {name}: holds "):
            next(score(written(strange, kind), kind, small.predictor, ARROW))


def test_what_a_format_cannot_hold_is_told_before_the_first_byte(small: Small, rows: pl.DataFrame) -> None:
    lists = written(rows.with_columns(tags=pl.lit([1, 2])), PARQUET)
    raw = written(rows.with_columns(raw=pl.lit(b"\xff")), PARQUET)
    for body, answer in ((lists, CSV), (raw, CSV), (raw, NDJSON)):
        with pytest.raises(DataError, match=r"column (tags|raw) holds (List|Binary).* cannot"):
            next(score(body, PARQUET, small.predictor, answer))
    assert scored(lists, PARQUET, small, NDJSON)["tags"].to_list() == [[1, 2]] * rows.height
    assert scored(raw, PARQUET, small, ARROW)["raw"].to_list() == [b"\xff"] * rows.height


def test_a_column_under_both_its_names_is_refused(small: Small) -> None:
    config = load_config("dc_house")
    schema = pl.Schema(dict.fromkeys([*config.raw_inputs, "latitude"], pl.String()))
    with pytest.raises(DataError, match="the input has the column lat twice: as lat and as latitude"):
        bulk._inputs(schema, config)
    only = pl.Schema({{"lat": "latitude"}.get(name, name): kind for name, kind in schema.items()})
    assert bulk._inputs(only, config)["lat"] == "latitude"


@pytest.mark.parametrize("kind", TYPED)
def test_a_body_that_is_cut_short_is_told_before_the_first_byte(
    small: Small, rows: pl.DataFrame, kind: Format, tmp_path: Path
) -> None:
    body = written(rows, kind)[:-100]
    (tmp_path / "body").write_bytes(body)
    for source in (body, tmp_path / "body"):
        with pytest.raises(DataError, match=r"Arrow IPC stream is incomplete|cannot read the Parquet file"):
            next(score(source, kind, small.predictor, ARROW))


@pytest.mark.parametrize("answer", Format)
def test_damage_late_in_a_body_ends_the_answer_in_an_error(small: Small, rows: pl.DataFrame, answer: Format) -> None:
    stream = io.BytesIO()
    rows.write_parquet(stream, row_group_size=20, compression="zstd")
    body = bytearray(stream.getvalue())
    place = body.rindex(b"\x28\xb5\x2f\xfd")  # the last compressed page
    body[place : place + 8] = bytes(8)
    given = []
    with pytest.raises(DataError, match="cannot read the Parquet file"):
        given.extend(score(bytes(body), PARQUET, small.predictor, answer, rows=20))
    whole = b"".join(given)
    if answer == ARROW:
        assert read(whole + END, ARROW).height == 40
        assert not whole.endswith(END)
    elif answer == PARQUET:
        assert whole == b""


@pytest.mark.parametrize("answer", Format)
def test_who_stops_early_leaves_nothing_behind(
    small: Small, rows: pl.DataFrame, answer: Format, tmp_path: Path
) -> None:
    (tmp_path / "body").write_bytes(written(rows, PARQUET))
    threads = threading.active_count()
    pieces = score(tmp_path / "body", PARQUET, small.predictor, answer, rows=5, folder=tmp_path)
    next(pieces)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert [one.name for one in tmp_path.iterdir()] == ["body"]
    assert threading.active_count() == threads


def test_a_full_disk_is_told_as_such(
    small: Small, rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise pl.exceptions.ComputeError("No space left on device (os error 28)")

    monkeypatch.setattr(pl.LazyFrame, "sink_parquet", fail)
    with pytest.raises(OSError, match="No space left on device") as caught:
        list(score(written(rows, CSV), CSV, small.predictor, PARQUET, rows=5, folder=tmp_path))
    assert caught.value.errno == 28
    assert not any(tmp_path.iterdir())


def test_classes_come_with_their_probabilities() -> None:
    predictor = iris_predictor()
    columns = list(predictor.config.raw_inputs)
    body = ",".join(columns) + "\n5.1,3.5,1.4,0.2\n5.1,many,1.4,0.2\n6.3,3.3,6.0,2.5\n"
    found = read(b"".join(score(body.encode(), CSV, predictor, ARROW)), ARROW)
    assert found["predicted_species"].to_list() == ["setosa", None, "virginica"]
    assert found["probability_setosa"].is_null().to_list() == [False, True, False]
    assert found["error"].to_list() == [None, f"{columns[1]}: must be a number, not 'many'", None]


def test_values_without_a_price_are_no_price(small: Small, rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    class Model:
        evaluator = "none"

        def __call__(self, X: Any, threads: int = 1) -> Any:
            return pl.Series([math.inf if i == 1 else 12.0 for i in range(len(X))], dtype=pl.Float64).to_numpy()

    monkeypatch.setattr(small.predictor, "_model", Model())
    found = scored(written(rows.head(3), ARROW), ARROW, small, ARROW)
    assert found["error"].to_list() == [None, bulk.NO_PRICE, None]
    assert found["upper_95"].is_null().to_list() == [False, True, False]
