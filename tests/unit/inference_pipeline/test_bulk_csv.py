"""A CSV in pieces is the CSV."""

import csv
import io

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from src.core.errors import DataError
from src.inference_pipeline import bulk_blocks
from src.inference_pipeline.bulk_csv import read_csv


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_blocks, "BLOCK", 40)
    monkeypatch.setattr(bulk_blocks, "LONGEST", 4_000)


def read(text: str | bytes) -> tuple[pl.DataFrame, dict[int, str]]:
    """Put the blocks together."""
    blocks = list(read_csv(io.BytesIO(text.encode() if isinstance(text, str) else text)))
    unread, start = {}, 0
    for block in blocks:
        unread |= {start + number: what for number, what in block.unread.items()}
        start += block.frame.height
    return pl.concat([block.frame for block in blocks]), unread


texts = st.text(st.sampled_from('ab,"\n\r é;\t'), max_size=12)


@hypothesis_settings(deadline=None, max_examples=300)
@given(rows=st.lists(st.tuples(texts, texts, texts), max_size=30), ending=st.sampled_from(["\n", "\r\n"]))
def test_whatever_is_quoted_comes_back(rows: list[tuple[str, str, str]], ending: str) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator=ending, quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b", "c"), *rows])
    frame, unread = read(stream.getvalue())
    assert unread == {}
    assert [tuple(value or "" for value in row) for row in frame.rows()] == rows


@hypothesis_settings(deadline=None, max_examples=300)
@given(lines=st.lists(st.text(st.sampled_from("ab,, "), max_size=6), max_size=30))
def test_lines_that_are_not_whole_are_rows_that_are_not_read(lines: list[str]) -> None:
    frame, unread = read("\n".join(["a,b,c", *lines]))
    there = [line for line in lines if line]
    assert frame.height == len(there)
    assert set(unread) == {number for number, line in enumerate(there) if line.count(",") != 2}
    whole = [number for number in range(len(there)) if number not in unread]
    assert [tuple(v or "" for v in row) for row in frame[whole].rows()] == [tuple(there[n].split(",")) for n in whole]


def test_a_short_and_a_long_line_are_told_from_the_header() -> None:
    frame, unread = read('a,b,c\n1,2\n"x, y",2,3\n1,2,3,4\n\n5,6,7\n')
    assert unread == {
        0: "the line has 2 fields, and the header has 3",
        2: "the line has 4 fields, and the header has 3",
    }
    assert frame.rows()[1::2] == [("x, y", "2", "3"), ("5", "6", "7")]


def test_the_mark_of_utf_8_and_empty_lines_before_the_header_are_skipped() -> None:
    frame, _ = read("\ufeff\r\n\r\na,b\r\n1,2\r\n")
    assert frame.to_dicts() == [{"a": "1", "b": "2"}]
    assert read("a\n1\n\n2\n")[0]["a"].to_list() == ["1", "2"]
    assert read("a,b")[0].shape == (0, 2)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body is empty"),
        (b"\r\n\n", "the body is empty"),
        (b"a,b\n" + b"1,2\n" * 20 + b"\xe9,1\n", "line 22: not UTF-8 text, at its byte 0xe9"),
        ("a,b\n1,2\n".encode("utf-16"), "line 1: not UTF-8 text"),
        (b"a,b\n" + b"1,2\n" * 20 + b'"3,4\n5,6\n', "line 22: a quote is not closed"),
        (b'a,b\n1,2\n"3' + b",4\n" * 2_000, "line 3: longer than 4,000 bytes, or a quote in it is not closed"),
        (b"a,b,a\n1,2,3\n", "two columns of the CSV are called 'a'"),
    ],
)
def test_what_is_wrong_with_a_csv_is_told_before_its_first_row(body: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        next(read_csv(io.BytesIO(body)))


def test_quotes_inside_a_field_are_kept() -> None:
    frame, unread = read('a,b\n5" pipe,6"\n7,8\n')
    assert (frame.rows(), unread) == ([('5" pipe', '6"'), ("7", "8")], {})
