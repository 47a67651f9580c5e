"""Binary models read as their text does."""

import json
import struct
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from src.core.errors import BundleError
from src.inference_pipeline import ubjson

TEXT = b"S" + b"i\x02" + b"ab"


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | np.ndarray) else value


def close(one: Any, other: Any) -> bool:
    """Compare; float32 in text is rounded to nine digits, which mean the same float32."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    return np.float32(one) == np.float32(other) if isinstance(other, float) else bool(one == other)


@pytest.mark.parametrize("more", [{}, {"objective": "multi:softprob", "num_class": 3}, {"booster": "dart"}])
def test_a_model_is_its_text(more: dict[str, Any]) -> None:
    random = np.random.default_rng(3)
    X, y = random.normal(size=(300, 5)), random.integers(0, 3, 300)
    matrix = xgb.DMatrix(X, y, feature_names=["a", "b", "c", "d", "é"])
    booster = xgb.train({"nthread": 1, "max_depth": 4} | more, matrix, 5)
    booster.set_attr(note="a note")
    assert close(plain(ubjson.read(bytes(booster.save_raw("ubj")))), json.loads(booster.save_raw("json")))


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"Z", None),
        (b"T", True),
        (b"i\xff", -1),
        (b"U\xff", 255),
        (b"D" + struct.pack(">d", 0.1), 0.1),
        (b"{}", {}),
        (b"[]", []),
        (b"[Ti\x01" + TEXT + b"]", [True, 1, "ab"]),
        (b"[#i\x02i\x01" + TEXT, [1, "ab"]),
        (b"[$I#U\x02\x00\x01\xff\xff", [1, -1]),
        (b"[$d#i\x00", []),
        (b"{i\x01a[{i\x01bF}]}", {"a": [{"b": False}]}),
    ],
)
def test_every_kind_of_value(data: bytes, wanted: Any) -> None:
    assert plain(ubjson.read(data)) == wanted


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"i", b"Si\x05ab", b"Si\xffab", b"{i\x01a", b"[i\x01", b"[$d#i\x02\0\0", b"[$S#i\x01", b"[" * 9999],
)
def test_what_is_not_whole_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match="not UBJSON"):
        ubjson.read(data)
