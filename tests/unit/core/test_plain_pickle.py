"""A pickle of encoders holds plain tables, and a hostile one cannot run."""

import io
import os
import pickle
from collections import OrderedDict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.core import plain_pickle
from src.core.errors import BundleError, DataError
from src.core.plain_pickle import dump_plain, load_plain

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(SCALARS, inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
    ),
    max_leaves=20,
)


@given(content=PLAIN)
def test_plain_content_comes_back_equal_and_of_the_same_types(
    content: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("plain") / "encoders.pkl"
    dump_plain(content, path)
    back = load_plain(path)
    assert back == content
    assert repr(back) == repr(content)


def test_a_large_encoder_table_fits(tmp_path: Path) -> None:
    table = {"zipcode_freq": {f"{i:05}": i / 7 for i in range(40_000)}, "prior": -0.0}
    dump_plain(table, tmp_path / "encoders.pkl")
    assert load_plain(tmp_path / "encoders.pkl") == table


@pytest.mark.parametrize(
    ("content", "where", "kind"),
    [
        ({"prior": np.float64(1.0)}, "content['prior']", "numpy.float64"),
        ({"city": {"atlanta": [0.1, np.int64(3)]}}, "content['city']['atlanta'][1]", "numpy.int64"),
        ({date(2020, 1, 1): 1.0}, "a key of content", "datetime.date"),
        (OrderedDict(a=1), "content", "collections.OrderedDict"),
        ([{1, 2}], "content[0]", "builtins.set"),
        (b"bytes", "content", "builtins.bytes"),
        ((print,), "content[0]", "builtins.builtin_function_or_method"),
    ],
)
def test_what_is_not_plain_is_named_and_the_old_file_stays(tmp_path: Path, content: Any, where: str, kind: str) -> None:
    path = tmp_path / "encoders.pkl"
    dump_plain({"old": 1}, path)
    with pytest.raises(DataError) as caught:
        dump_plain(content, path)
    assert f"{where} is a {kind}" in str(caught.value)
    assert load_plain(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["encoders.pkl"]


def test_content_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(DataError, match="nested too deeply"):
        dump_plain(deep, tmp_path / "encoders.pkl")


def test_circular_content_does_not_hang(tmp_path: Path) -> None:
    circle: list[Any] = [1]
    circle.append(circle)
    dump_plain(circle, tmp_path / "encoders.pkl")
    assert load_plain(tmp_path / "encoders.pkl")[0] == 1


class _Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_hostile_pickle_does_not_run(tmp_path: Path, protocol: int) -> None:
    path, victim = tmp_path / "encoders.pkl", tmp_path / "victim"
    path.write_bytes(pickle.dumps({"prior": [_Hostile(victim)]}, protocol=protocol))
    with pytest.raises(BundleError, match=r"posix\.mkdir|nt\.mkdir"):
        load_plain(path)
    assert not victim.exists()
    pickle.loads(path.read_bytes())
    assert victim.exists(), "the pickle must be one that runs elsewhere, or this test shows nothing"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a class, by the old INST opcode", b"(ios\nsystem\n."),
        ("a class, by OBJ", b"(cos\nsystem\no."),
        ("a persistent object", b"\x80\x04\x8c\x01aQ."),
        ("an extension", b"\x80\x04\x82\x01."),
        ("an out-of-band buffer", b"\x80\x05\x97."),
        ("a call of a number", b"\x80\x04K\x01)R."),
        ("state set on a dict", b"\x80\x04}}b."),
        ("bytes", pickle.dumps(b"raw")),
        ("a set, without a global", pickle.dumps({1, 2}, protocol=4)),
        ("nothing", b""),
        ("text", b"encoders: {}"),
        ("a wrong protocol", b"\x80\xff."),
        ("a number of endless digits", b"I" + b"9" * 5000 + b"\n."),
        ("invalid UTF-8", b"\x80\x04\x8c\x02\xff\xfe."),
    ],
)
def test_odd_and_damaged_pickles_are_one_clear_error(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / "encoders.pkl"
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"encoders\.pkl"):
        load_plain(path)


def test_nine_bytes_that_would_take_gigabytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "encoders.pkl"
    path.write_bytes(b"\x80\x04Nr" + (2**31).to_bytes(4, "little") + b".")
    with pytest.raises(BundleError, match="memo slot"):
        load_plain(path)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "encoders.pkl"
    dump_plain({"city": {"atlanta": 0.5, "boston": 0.25}, "prior": (1, None, True)}, path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(BundleError):
            load_plain(path)


@given(data=st.binary(max_size=200))
def test_no_bytes_do_anything_but_load_or_raise_bundle_error(
    data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "encoders.pkl"
    path.write_bytes(data)
    try:
        content = load_plain(path)
    except BundleError:
        return
    assert type(content) in (dict, list, tuple, str, int, float, bool, type(None))


def test_size_limit_holds_for_writing_and_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "encoders.pkl"
    dump_plain("x" * 2000, path)
    monkeypatch.setattr(plain_pickle, "MAX_BYTES", 1000)
    with pytest.raises(BundleError, match="larger than 1,000 bytes"):
        load_plain(path)
    with pytest.raises(DataError, match="more than the 1,000"):
        dump_plain("x" * 2000, tmp_path / "new.pkl")
    assert not (tmp_path / "new.pkl").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"encoders\.pkl: cannot be read: No such file"):
        load_plain(tmp_path / "encoders.pkl")


def test_the_file_is_an_ordinary_pickle(tmp_path: Path) -> None:
    dump_plain({"a": [1, 2.5]}, tmp_path / "encoders.pkl")
    assert pickle.load(io.BytesIO((tmp_path / "encoders.pkl").read_bytes())) == {"a": [1, 2.5]}
