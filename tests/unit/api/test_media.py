"""What a body is and what is answered, by their headers."""

import pytest

from src.api.media import formats
from src.api.problems import Problem
from src.inference_pipeline.bulk import Format

CSV, NDJSON, PARQUET, ARROW = Format
STREAM = "application/vnd.apache.arrow.stream"


def said(content_type: str, accept: str | None = None, **more: str) -> tuple[Format, Format, bytes]:
    named = {"content-type": content_type, "accept": accept, **{k.replace("_", "-"): v for k, v in more.items()}}
    return formats([(name.encode(), value.encode()) for name, value in named.items() if value is not None])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("text/csv", CSV),
        ("Text/CSV; charset=UTF-8; header=present", CSV),
        ("application/x-ndjson", NDJSON),
        ("application/jsonl", NDJSON),
        ("application/vnd.apache.parquet", PARQUET),
        (STREAM, ARROW),
        ("application/vnd.apache.arrow.file", ARROW),
    ],
)
def test_a_body_is_answered_in_its_own_type(name: str, kind: Format) -> None:
    for accept in (None, "", "*/*", "application/json, */*;q=0.1"):
        assert said(name, accept)[:2] == (kind, kind)


@pytest.mark.parametrize(
    ("accept", "answer", "named"),
    [
        (STREAM, ARROW, STREAM),
        ("text/csv;q=0.5, application/vnd.apache.parquet", PARQUET, "application/vnd.apache.parquet"),
        ("application/json, text/csv;q=0.2, application/ndjson;q=0.3", NDJSON, "application/ndjson"),
        ("text/*", CSV, "text/csv"),
        ("application/*", NDJSON, "application/x-ndjson"),
        ("image/png, */*;q=0.1", NDJSON, "application/x-ndjson"),
        ("text/csv;q=0, application/x-parquet", PARQUET, "application/x-parquet"),
    ],
)
def test_the_answer_is_what_is_accepted_most(accept: str, answer: Format, named: str) -> None:
    assert said("application/x-ndjson", accept) == (NDJSON, answer, named.encode())


@pytest.mark.parametrize(
    ("content_type", "more"),
    [
        ("", {}),
        ("application/json", {}),
        ("text/plain", {}),
        ("text/csv; charset=latin-1", {}),
        ("text/csv", {"content_encoding": "gzip"}),
    ],
)
def test_other_bodies_are_refused(content_type: str, more: dict[str, str]) -> None:
    with pytest.raises(Problem) as caught:
        said(content_type, **more)
    assert caught.value.status == 415


@pytest.mark.parametrize(
    "accept", ["application/json", "application/vnd.apache.arrow.file", "text/csv;q=0", "text/csv;q=x", "image/*", ";"]
)
def test_other_wishes_are_refused(accept: str) -> None:
    with pytest.raises(Problem) as caught:
        said("text/csv", accept)
    assert caught.value.status == 406
