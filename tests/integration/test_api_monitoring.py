"""What the reports measured and which rules are broken, over HTTP and on the dashboard's Quality page."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import page
from src.core.config import Settings
from src.monitoring import alerts, database, measures
from src.monitoring.measures import Measure
from src.monitoring.rules import Finding
from tests.predictions import put_months
from tests.serving import READ, Server, Small, client_of, copied, serving

NOW = datetime(2023, 6, 5, tzinfo=UTC)


def fill(settings: Settings) -> None:
    """Write two months of measures, an alert that is open and one that is over."""
    with database.opened(settings) as engine:
        for month, share in (("2023-04", 0.1), ("2023-05", 0.6)):
            found = [Measure("drift_share", share, 500), Measure("failed_expectations", share > 0.5, 500)]
            found.append(Measure("drift", 2 * share, 500, "column=inventory"))
            measures.replace(engine, "housets", month, "v1", found, NOW)
        bad = Finding("max_mdape", "", "2023-04", "beyond its limit", 0.3, 0.15, "2023-04: MdAPE 30 %")
        alerts.update(engine, "housets", [bad], ["log"], NOW)
        good = Finding("max_mdape", "", "2023-05", "ok", 0.1, 0.15, "2023-05: MdAPE 10 %")
        other = Finding("max_drift_share", "", "2023-05", "beyond its limit", 0.6, 0.5, "2023-05: 60 % drifted")
        alerts.update(engine, "housets", [good, other], ["log"], NOW)


def test_measures_and_alerts_are_told(tmp_path: Path, small: Small) -> None:
    settings = Settings(workspace=tmp_path, sync_seconds=0.2)
    with client_of(settings, copied(small, tmp_path / "models")) as client:
        assert client.get("/datasets/housets/measures").json()["rows"] == []
        assert client.get("/datasets/housets/alerts").json()["alerts"] == []
        assert not (tmp_path / database.SQLITE_NAME).exists()
        fill(settings)
        rows = client.get("/datasets/housets/measures?measure=drift_share").json()["rows"]
        assert [(row["month"], row["value"], row["rows"]) for row in rows] == [
            ("2023-04", 0.1, 500),
            ("2023-05", 0.6, 500),
        ]
        rows = client.get("/datasets/housets/measures", params={"segment": "column=inventory"}).json()["rows"]
        assert [(row["name"], row["value"]) for row in rows] == [("drift", 0.2), ("drift", 1.2)]
        found = client.get("/datasets/housets/alerts").json()["alerts"]
        assert [(one["rule"], one["resolved_at"] is None) for one in found] == [
            ("max_drift_share", True),
            ("max_mdape", False),
        ]
        assert client.get("/datasets/none/alerts").status_code == 404
        assert client.get("/datasets/housets/measures", params={"segment": "x" * 300}).status_code == 422


def test_a_database_that_is_down_is_said_and_costs_nothing_else(tmp_path: Path, small: Small) -> None:
    settings = Settings(workspace=tmp_path, database_url="postgresql+psycopg://someone:secret@127.0.0.1:1/none")
    with client_of(settings, copied(small, tmp_path / "models")) as client:
        answer = client.get("/datasets/housets/measures")
        assert (answer.status_code, answer.json()["detail"]) == (
            503,
            "The monitoring database does not answer; the log says why.",
        )
        assert "secret" not in answer.text
        assert client.get("/datasets/housets").status_code == 200


@pytest.fixture(scope="module")
def api(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("monitored")
    put_months(folder / "predictions", "2023-04")
    told = {"WORKSPACE": str(folder), "MODEL_STORE": str(small.store.root), "RATE_LIMIT": "0"}
    with serving(folder, **told) as server:
        yield server


def test_the_page_shows_drift_and_broken_rules(api: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_URL", api.url)
    page.settings.clear()
    page.api.clear()

    def script() -> None:
        from dashboard import page, quality

        page.run(quality.page)

    try:
        at = AppTest.from_function(script, default_timeout=60).run()
        assert not at.exception
        assert [one.value for one in at.info if "no month has a report" in one.value]
        fill(Settings(workspace=api.log.parent))
        page.api().close()
        page.api.clear()
        at = AppTest.from_function(script, default_timeout=60).run()
        assert not at.exception
        assert not at.error
        shown = next(one.value for one in at.dataframe if "rule" in one.value.columns)
        assert shown["rule"].tolist() == ["max_drift_share", "max_mdape"]
        assert shown["until"].tolist() == ["open", "2023-06-05"]
        assert any("failed: 1 in May 2023" in one.value for one in at.caption)
    finally:
        page.api().close()
        page.settings.clear()
        page.api.clear()


def test_a_key_is_asked_for(tmp_path: Path, small: Small) -> None:
    from tests.serving import KEYS

    settings = Settings(workspace=tmp_path, api_keys=KEYS)
    with client_of(settings, copied(small, tmp_path / "models")) as client:
        assert client.get("/datasets/housets/alerts").status_code == 401
        assert client.get("/datasets/housets/alerts", headers=READ).status_code == 200
