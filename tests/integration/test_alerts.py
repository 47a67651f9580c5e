"""Alerts are opened, told once to each channel and resolved, whatever is down meanwhile."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import boto3
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from src.core.cli import run_command
from src.core.config import DatasetConfig, Settings, load_config
from src.core.errors import StoreError
from src.monitoring import alerts, channels, check, database, measures
from src.monitoring.measures import Measure
from src.monitoring.rules import Finding, findings
from src.monitoring.tables import notices, requests

HOUSETS = load_config("housets")
NOW = datetime(2023, 6, 5, tzinfo=UTC)


@dataclass
class Hook:
    """A webhook that answers what it is told to."""

    url: str = ""
    status: int = 204
    taken: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


@contextmanager
def hook() -> Iterator[Hook]:
    made = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if made.status < 300:
                made.taken.append(body)
                made.keys.append(self.headers["Idempotency-Key"])
            self.send_response(made.status)
            if made.status == 302:
                self.send_header("Location", made.url)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def measure(engine: sa.Engine, month: str, **values: float) -> None:
    """Write a month's measures of 500 rows, with the few that are always there."""
    found = [Measure("rows", 500, 500), *(Measure(name, value, 500) for name, value in values.items())]
    found += [Measure("drift", values.get("drift_share", 0.0), 500, "column=inventory")]
    measures.replace(engine, "housets", month, "v1", found, NOW)


def states(config: DatasetConfig, engine: sa.Engine, now: datetime = NOW) -> dict[str, str]:
    return {f"{one.rule}{one.subject and ':' + one.subject}": one.state for one in findings(config, engine, now)}


def test_each_measure_is_judged_in_its_newest_month(engine: sa.Engine) -> None:
    assert findings(HOUSETS, engine, NOW) == []
    measure(engine, "2023-04", mdape=0.3, coverage_80=0.5, drift_share=0.1, unseen_share=0.0, failed_expectations=0)
    measure(engine, "2023-05", drift_share=0.9, unseen_share=0.5, failed_expectations=2)
    assert states(HOUSETS, engine) == {
        "coverage_tolerance:coverage_80": "beyond its limit",
        "max_column_drift:inventory": "ok",
        "max_data_age_days": "ok",
        "max_drift_share": "beyond its limit",
        "max_failed_expectations": "beyond its limit",
        "max_mdape": "beyond its limit",
        "max_missing_months": "ok",
        "max_unseen_share": "beyond its limit",
    }
    by_rule = {one.rule: one.month for one in findings(HOUSETS, engine, NOW)}
    assert (by_rule["max_mdape"], by_rule["max_drift_share"]) == ("2023-04", "2023-05")


def test_old_data_missing_months_and_few_rows(engine: sa.Engine) -> None:
    measure(engine, "2023-01", mdape=0.01)
    measure(engine, "2023-04", mdape=0.01)
    found = {one.rule: one for one in findings(HOUSETS, engine, NOW + timedelta(days=100))}
    assert found["max_data_age_days"].state == "beyond its limit"
    assert found["max_missing_months"].text.startswith("2 months between 2023-01 and 2023-04 have no report (2023-02")
    measures.replace(engine, "housets", "2023-05", "v1", [Measure("rows", 3, 3), Measure("mdape", 0.9, 3)], NOW)
    assert states(HOUSETS, engine)["max_mdape"] == "not enough data"


def asked(engine: sa.Engine, count: int, status: int, milliseconds: float, at: datetime = NOW) -> None:
    start = int(at.timestamp() * 1e6) + status
    row = {"request_id": "r", "dataset": "housets", "version": "v1", "rows": 1, "answer": "{}", "inputs": "[]"}
    rows = [
        {**row, "id": start + i, "at": at, "role": "champion", "status": status, "milliseconds": milliseconds + i}
        for i in range(count)
    ]
    with database.writing(engine) as connection:
        connection.execute(requests.insert(), rows)


def test_failures_and_slow_answers_of_the_last_day(engine: sa.Engine) -> None:
    asked(engine, 100, 200, 1.0, NOW - timedelta(hours=30))
    assert findings(HOUSETS, engine, NOW) == []
    asked(engine, 20, 503, 1.0, NOW - timedelta(hours=1))
    assert states(HOUSETS, engine) == {"max_error_rate": "not enough data"}
    asked(engine, 80, 200, 1.0, NOW - timedelta(hours=2))
    found = {one.rule: one for one in findings(HOUSETS, engine, NOW)}
    assert (found["max_error_rate"].value, found["max_error_rate"].state) == (0.2, "beyond its limit")
    assert (found["max_latency_ms"].value, found["max_latency_ms"].state) == (76.0, "ok")


def test_a_breach_is_told_once_and_its_end_once(
    kept: Settings, engine: sa.Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    with hook() as webhook:
        settings = kept.model_copy(update={"alert_webhook": SecretStr(webhook.url)})
        measure(engine, "2023-04", drift_share=0.9)
        for _ in range(3):
            check.run(HOUSETS, settings, engine, NOW)
        measure(engine, "2023-05", drift_share=0.1)
        for _ in range(2):
            _, changes = check.run(HOUSETS, settings, engine, NOW)
        assert (changes.told, dict(changes.untold)) == (0, {})
        assert [(one["rule"], one["state"], one["event"]) for one in webhook.taken] == [
            ("max_drift_share", "breach", "drift"),
            ("max_drift_share", "resolved", "alert"),
        ]
        assert webhook.taken[0]["message"].startswith("2023-04: 90% of the columns drifted, 50% may")
        assert webhook.taken[0]["look_at"] == "reports/housets/2023-04/report.html"
        assert len(set(webhook.keys)) == 2
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["state"], one["event"]) for one in lines] == [("breach", "drift"), ("resolved", "alert")]


@pytest.mark.parametrize(
    ("status", "said"), [(500, "answers 500"), (302, "answers 302"), (None, "cannot be reached: Connection refused")]
)
def test_a_webhook_that_is_down_gets_it_at_the_next_look(tmp_path: Path, status: int | None, said: str) -> None:
    with hook() as webhook, database.opened(Settings(workspace=tmp_path)) as engine:
        good = Settings(workspace=tmp_path, alert_webhook=SecretStr(webhook.url))
        webhook.status = status or 204
        dead = good.model_copy(update={"alert_webhook": SecretStr("http://127.0.0.1:9/secret")})
        measure(engine, "2023-04", drift_share=0.9)
        found, changes = check.run(HOUSETS, good if status else dead, engine, NOW)
        assert [one.rule for one in changes.opened] == ["max_drift_share"]
        assert found
        assert said in changes.untold["webhook"]
        assert "secret" not in changes.untold["webhook"]
        assert webhook.taken == []
        webhook.status = 200
        _, changes = check.run(HOUSETS, good, engine, NOW)
        assert (changes.told, [one["state"] for one in webhook.taken]) == (1, ["breach"])
        with engine.connect() as connection:
            rows = connection.execute(sa.select(notices.c.channel, notices.c.attempts, notices.c.error)).all()
        assert sorted(map(tuple, rows)) == [("log", 1, None), ("webhook", 2, None)]


def test_many_looks_at_once_tell_once(kept: Settings, engine: sa.Engine) -> None:
    with hook() as webhook:
        settings = kept.model_copy(update={"alert_webhook": SecretStr(webhook.url)})
        measure(engine, "2023-04", drift_share=0.9, mdape=0.5, coverage_80=0.2)
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda _: check.run(HOUSETS, settings, engine, NOW), range(6)))
        assert sorted(one["rule"] for one in webhook.taken) == ["coverage_tolerance", "max_drift_share", "max_mdape"]


def test_what_a_look_that_died_has_claimed_is_told_later(engine: sa.Engine) -> None:
    told: list[str] = []
    one = Finding("max_mdape", "", "2023-04", "beyond its limit", 0.3, 0.15, "2023-04: bad")
    alerts.update(engine, "housets", [one], ["log"], NOW)
    with database.writing(engine) as connection:
        connection.execute(notices.update().values(claimed_at=NOW))
    way = {"log": lambda message, key: told.append(message["state"])}
    assert alerts.deliver(engine, way, NOW + timedelta(seconds=5)) == (0, {})
    assert alerts.deliver(engine, way, NOW + timedelta(minutes=10)) == (1, {})
    assert told == ["breach"]


def test_a_column_that_is_measured_no_more_is_resolved(engine: sa.Engine) -> None:
    one = Finding("max_column_drift", "inventory", "2023-04", "beyond its limit", 3.0, 1.0, "far")
    other = Finding("max_column_drift", "homes_sold", "2023-05", "ok", 0.1, 1.0, "near")
    assert alerts.update(engine, "housets", [one], ["log"], NOW) == ([one], [])
    opened, resolved = alerts.update(engine, "housets", [other], ["log"], NOW)
    assert (opened, [found.subject for found in resolved]) == ([], ["inventory"])


def test_sns_gets_the_message_and_a_refusal_is_said(
    tmp_path: Path, s3_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(s3_settings.s3_endpoint_url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", address)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", address)
    about: Any = {"region_name": "us-east-1"}
    sns, sqs = boto3.client("sns", **about), boto3.client("sqs", **about)
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    queue = sqs.create_queue(QueueName="alerts")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    settings = Settings(workspace=tmp_path, alert_topic=topic, aws_region="us-east-1")
    with database.opened(settings) as engine:
        measure(engine, "2023-04", drift_share=0.9)
        wrong = settings.model_copy(update={"alert_topic": f"{topic}-none"})
        _, changes = check.run(HOUSETS, wrong, engine, NOW)
        assert "SNS does not take it" in changes.untold["sns"]
        _, changes = check.run(HOUSETS, settings, engine, NOW)
        assert (changes.told, dict(changes.untold)) == (1, {})
    (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]
    body = json.loads(message["Body"])
    assert body["Subject"] == "housecast housets: max_drift_share breach"
    assert json.loads(body["Message"])["value"] == 0.9
    assert body["MessageAttributes"]["rule"]["Value"] == "max_drift_share"


def test_the_command_exits_with_1_while_a_rule_is_broken(
    kept: Settings, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKSPACE", str(kept.workspace))
    if kept.database_url:
        monkeypatch.setenv("DATABASE_URL", kept.database_url.get_secret_value())
    assert run_command(check.main, []) == 0
    month = f"{datetime.now(UTC) - timedelta(days=31):%Y-%m}"
    measure(engine, month, drift_share=0.1)
    assert run_command(check.main, []) == 0
    assert "max_drift_share" in capsys.readouterr().out
    measure(engine, month, drift_share=0.9)
    assert run_command(check.main, ["--dataset", "housets"]) == 1
    assert "1 rule is broken: housets: " in capsys.readouterr().err
    assert run_command(check.main, ["--dataset", "nonsense"]) == 2
    monkeypatch.setenv("ALERT_WEBHOOK", "ftp://somewhere")
    assert run_command(check.main, []) == 2
    assert "ALERT_WEBHOOK is no address" in capsys.readouterr().err


def test_a_database_that_is_down_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://someone:secret@127.0.0.1:1/none")
    assert run_command(check.main, []) == 1
    said = capsys.readouterr().err
    assert "nobody listens there" in said
    assert "secret" not in said


def test_a_webhook_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(channels, "TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(StoreError, match="timed out"):
        channels.to_webhook(f"http://127.0.0.1:{silent.getsockname()[1]}/", {"a": 1}, "key")
