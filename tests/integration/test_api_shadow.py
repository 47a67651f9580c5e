"""Shadow mode: the challenger prices what the champion answers, for the log only, and never in its way."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from src.core.cli import run_command
from src.core.config import Settings, load_config
from src.monitoring import actuals, database, log, shadow
from tests.serving import KEYS, READ, Small, copied, serving, until


def told(folder: Path, root: Path, share: str = "1") -> dict[str, str]:
    common = {"MODEL_STORE": str(root), "WORKSPACE": str(folder), "PREDICTION_LOG": "true", "API_KEYS": KEYS}
    return {**common, "RATE_LIMIT": "0", "SHADOW_SHARE": share}


def recorded(folder: Path) -> list[dict[str, Any]]:
    with database.opened(Settings(workspace=folder)) as engine:
        return log.newest(engine, [], 10_000)


def bodies(small: Small) -> list[dict[str, Any]]:
    return [{**row, "date": str(row["date"])[:10]} for row in small.rows]


def test_the_challenger_prices_beside_the_champion(tmp_path: Path, small: Small) -> None:
    store = copied(small, tmp_path / "models")
    rows = bodies(small)
    with serving(tmp_path, **told(tmp_path, store.root)) as server:
        first = server.post("/predict", rows[:1], READ)
        store.move("housets", small.versions[1], "staging", by="tests", why="a candidate")
        until(lambda: "runs beside the version" in server.log.read_text(), "the challenger")
        said = server.post("/predict", rows[:3], {**READ, "X-Request-ID": "both"})
        assert server.stop() == 0
    assert first["model"]["version"] == said["model"]["version"] == small.versions[0]
    found = recorded(tmp_path)
    by_role = {role: [one for one in found if one["role"] == role] for role in ("champion", "challenger")}
    assert [one["estimate"] for one in by_role["champion"]] == first["predictions"] + said["predictions"]
    assert [(one["request_id"], one["row"], one["version"]) for one in by_role["challenger"]] == [
        ("both", i, small.versions[1]) for i in range(3)
    ]
    assert [one["estimate"] for one in by_role["challenger"]] == pytest.approx(
        small.other.predict(small.rows[:3]).estimate.tolist()
    )
    assert [json.loads(one["inputs"]) for one in by_role["challenger"]] == [
        json.loads(one["inputs"]) for one in by_role["champion"][1:]
    ]


def test_both_are_compared_with_each_other_and_with_what_came_true(
    tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store, rows = copied(small, tmp_path / "models"), bodies(small)
    newest = max(row["date"] for row in rows)
    asked = [row for row in rows if row["date"] == newest][:15]
    store.move("housets", small.versions[1], "staging", by="tests", why="a candidate")
    with serving(tmp_path, **told(tmp_path, store.root)) as server:
        until(lambda: "runs beside the version" in server.log.read_text(), "the challenger")
        said = server.post("/predict", asked, READ)
        server.stop()
    monkeypatch.setenv("WORKSPACE", str(tmp_path))
    assert run_command(shadow.main, []) == 0
    assert "not enough data to say which is better" in capsys.readouterr().out
    file = tmp_path / "actuals.csv"
    pl.DataFrame(asked).select("zipcode", "date", price=pl.Series(said["predictions"])).write_csv(file)
    assert run_command(actuals.main, ["--input", str(file)]) == 0
    with database.opened(Settings(workspace=tmp_path)) as engine:
        found = shadow.compare(load_config("housets"), engine, datetime(2020, 1, 1, tzinfo=UTC))
    assert (found.champion, found.challenger, found.requests, found.failed) == (*small.versions, 1, 0)
    assert found.rows["champion"].to_list() == found.rows["value"].to_list() == said["predictions"]
    theirs = small.other.predict(small.predictor.to_frame([_typed(row) for row in asked])).estimate
    assert found.rows["challenger"].to_list() == pytest.approx(theirs.tolist())
    # What came true is just what the champion said.
    assert found.fought is not None
    assert found.fought.champion == 0 < found.fought.lower
    assert run_command(shadow.main, ["--days", "3"]) == 0
    assert "the champion is better" in capsys.readouterr().out
    assert run_command(shadow.main, ["--dataset", "iris"]) == 2


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "date": date.fromisoformat(row["date"])}


def test_a_challenger_that_cannot_be_loaded_changes_nothing(tmp_path: Path, small: Small) -> None:
    store = copied(small, tmp_path / "models")
    (model,) = (store.root / "housets" / small.versions[1]).glob("model.ubj")
    model.write_bytes(b"nothing")
    store.move("housets", small.versions[1], "staging", by="tests", why="a damaged one")
    with serving(tmp_path, **told(tmp_path, store.root)) as server:
        until(lambda: "no challenger can be run" in server.log.read_text(), "the refusal")
        said = server.post("/predict", bodies(small)[:1], READ)
        assert said["model"]["version"] == small.versions[0]
        assert server.get("/health/ready").status_code == 200
        assert server.stop() == 0
    assert server.log.read_text().count("no challenger can be run") == 1
    assert [one["role"] for one in recorded(tmp_path)] == ["champion"]


def test_without_a_share_nobody_looks_for_a_challenger(tmp_path: Path, small: Small) -> None:
    store = copied(small, tmp_path / "models")
    store.move("housets", small.versions[1], "staging", by="tests", why="a candidate")
    with serving(tmp_path, **told(tmp_path, store.root, share="0")) as server:
        server.post("/predict", bodies(small)[:1], READ)
        assert server.stop() == 0
    assert [one["role"] for one in recorded(tmp_path)] == ["champion"]
