"""A pattern means the same in every engine, or is refused."""

import pytest

from src.core.pattern import portable, spelled_out


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        (r"^(-?\d+)", r"^(-?[0-9]+)"),
        (r"out of (\d+)$", r"out of ([0-9]+)\z"),
        (r"([\d.,]+) m²", r"([0-9.,]+) m²"),
        (r"\$(\d{1,12}?)\D", r"\$([0-9]{1,12}?)[^0-9]"),
        (r"(?:\w|\s)*?([^\]\d$])", r"(?:[0-9A-Za-z_]|[ ])*?([^\]0-9$])"),
    ],
)
def test_shorthands_are_spelled_out(pattern: str, meant: str) -> None:
    assert spelled_out(portable(pattern), r"\z") == meant


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"(?<=a)(\d)", r"'\(\?<=' at character 1 is not what Polars, Spark and Python read alike"),
        (r"a(?!b)(\d)", r"'\(\?!b' at character 2"),
        (r"(\d)\1", r"at character 5.*back references"),
        (r"(?i)floor (\d)", r"'\(\?i\)' at character 1"),
        (r"(?P<n>\d)", r"'\(\?P<'"),
        (r"\b(\d)", r"\\b"),
        (r"(\d++)", r"'\+\+\)' at character 4"),
        (r"\p{L}(\d)", r"p"),
        (r"([\d-x])", "at character 2"),
        (r"([ -\d])", "at character 2"),
        (r"([a&&b])", "at character 2"),
        (r"([[:digit:]])", "at character 2"),
        (r"([\D])", "at character 2"),
        (r"(\d{,3})", "at character 4"),
        (r"((?:\d{100}){100})", "at character 7"),  # more states than Polars allows
        (r"(\d]", "at character 4"),
        (r"(\d", "is not a regular expression"),
        (r"(*)", "is not a regular expression"),
        (r"([b-a])", "is not a regular expression"),
        (r"\d+", "needs exactly one group .* has 0"),
        (r"(\d)(\d)", "needs exactly one group .* has 2"),
        ("", "has 0"),
    ],
)
def test_what_an_engine_would_read_differently_is_refused(pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        portable(pattern)
