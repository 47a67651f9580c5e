"""Alerts that nobody takes, in part or for a while: each is told in the end, in order, under one key."""

import json
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from src.core.cli import run_command
from src.core.config import Settings, load_config
from src.core.errors import ConfigError, StoreError
from src.core.monitoring_sections import RULES
from src.monitoring import alerts, channels, check, database, measures
from src.monitoring.channels import RefusedError
from src.monitoring.measures import Measure
from src.monitoring.next_steps import NEXT
from src.monitoring.rules import Finding
from src.monitoring.tables import notices
from tests.postgres import Postgres

HOUSETS = load_config("housets")
NOW = datetime(2023, 6, 5, tzinfo=UTC)


class Channel:
    """Takes what it is told, or fails as it is told to."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.keys: list[str] = []  # of every attempt
        self.error: dict[str, Exception] = {}  # by rule; "" for all

    def __call__(self, message: Mapping[str, Any], key: str) -> None:
        self.keys.append(key)
        error = self.error.get(message["rule"]) or self.error.get("")
        if error:
            raise error
        self.told.append((message["rule"], message["state"]))


def finding(rule: str, state: Any = "beyond its limit", subject: str = "") -> Finding:
    return Finding(rule, subject, "2023-04", state, 0.3, 0.15, "2023-04: text")


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    with database.opened(Settings(workspace=tmp_path)) as made:
        yield made


def update(engine: sa.Engine, found: Sequence[Finding], *names: str, **options: Any) -> tuple[int, int]:
    opened, resolved = alerts.update(engine, "housets", found, names or ("way",), NOW, **options)
    return len(opened), len(resolved)


def test_an_end_waits_for_its_beginning_and_the_key_stays(engine: sa.Engine) -> None:
    way = Channel()
    way.error[""] = StoreError("down")
    update(engine, [finding("max_mdape")])
    assert alerts.deliver(engine, {"way": way}, NOW) == (0, {"way": "down"})
    update(engine, [finding("max_mdape", "ok")])
    assert alerts.deliver(engine, {"way": way}, NOW) == (0, {"way": "down"})
    assert len(set(way.keys)) == 1, "not even tried with the end"
    way.error = {}
    assert alerts.deliver(engine, {"way": way}, NOW) == (2, {})
    assert way.told == [("max_mdape", "breach"), ("max_mdape", "resolved")]
    assert way.keys[:3] == [way.keys[0]] * 3
    assert len(set(way.keys)) == 2


def test_a_message_that_is_refused_holds_up_no_other_one(engine: sa.Engine) -> None:
    way, other = Channel(), Channel()
    way.error["max_mdape"] = RefusedError("answers 422")
    update(engine, [finding("max_mdape"), finding("max_drift_share")], "way", "other")
    assert alerts.deliver(engine, {"way": way, "other": other}, NOW) == (3, {"way": "answers 422"})
    assert way.told == [("max_drift_share", "breach")]
    assert len(other.told) == 2


def test_a_channel_that_is_down_is_asked_once_a_look_and_others_are_told(engine: sa.Engine) -> None:
    way, other = Channel(), Channel()
    way.error[""] = StoreError("down")
    update(engine, [finding("max_mdape"), finding("max_drift_share"), finding("min_accuracy")], "way", "other")
    assert alerts.deliver(engine, {"way": way, "other": other}, NOW)[0] == 3
    assert len(way.keys) == 1


def test_what_another_look_delivers_is_left_to_it_with_all_that_follows(engine: sa.Engine) -> None:
    way = Channel()
    update(engine, [finding("max_mdape")])
    update(engine, [finding("max_mdape", "ok")])
    with database.writing(engine) as connection:
        connection.execute(notices.update().where(notices.c.event == "breach").values(claimed_at=NOW))
    assert alerts.deliver(engine, {"way": way}, NOW + timedelta(seconds=5)) == (0, {})
    assert way.keys == []


def test_a_rule_that_is_turned_off_is_over_and_too_few_rows_are_not(engine: sa.Engine) -> None:
    assert update(engine, [finding("max_mdape"), finding("max_column_drift", subject="homes_sold")]) == (2, 0)
    few = [finding("max_mdape", "not enough data"), finding("max_column_drift", "not enough data", "inventory")]
    assert update(engine, few) == (0, 0)
    assert update(engine, few[1:], on=set(RULES) - {"max_mdape"}) == (0, 1)
    assert list(alerts.still_open(engine, "housets")) == [("max_column_drift", "homes_sold")]


def test_a_channel_that_was_not_told_of_the_breach_is_not_told_of_its_end(engine: sa.Engine) -> None:
    update(engine, [finding("max_mdape")], "log")
    update(engine, [finding("max_mdape", "ok")], "log", "webhook")
    with engine.connect() as connection:
        rows = connection.execute(sa.select(notices.c.channel, notices.c.event)).all()
    assert sorted(map(tuple, rows)) == [("log", "breach"), ("log", "resolved")]


def test_keys_of_two_databases_differ(tmp_path: Path) -> None:
    keys = []
    for name, at in (("one", NOW), ("two", NOW + timedelta(days=1))):
        (tmp_path / name).mkdir()
        with database.opened(Settings(workspace=tmp_path / name)) as engine:
            way = Channel()
            alerts.update(engine, "housets", [finding("max_mdape")], ["way"], at)
            alerts.deliver(engine, {"way": way}, NOW)
            keys += way.keys
    assert len(set(keys)) == 2


def test_a_message_says_what_and_what_to_do_next() -> None:
    assert set(NEXT) == set(RULES)
    row = {"dataset": "housets", "rule": "max_mdape", "subject": "", "month": "2023-04", "value": 0.3}
    row |= {"threshold": 0.15, "message": "2023-04: MdAPE 30.0%, at most 15.0%", "opened_at": NOW, "resolved_at": None}
    said = alerts.message_of({**row, "event": "breach"})["message"]
    assert said.startswith(
        "2023-04: MdAPE 30.0%, at most 15.0%. Look at reports/housets/2023-04/report.html; see which"
    )


def test_a_webhook_that_sends_a_byte_now_and_then_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "TIMEOUT_SECONDS", 0.5)
    ended = threading.Event()

    def drip(listener: socket.socket) -> None:
        taken, _ = listener.accept()
        with taken:
            while not ended.wait(0.1):
                taken.send(b"H")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=drip, args=(listener,))
        server.start()
        started = time.monotonic()
        with pytest.raises(StoreError, match="timed out"):
            channels.to_webhook(f"http://127.0.0.1:{listener.getsockname()[1]}/", {"a": 1}, "key")
        assert time.monotonic() - started < 2
        ended.set()
        server.join()


@pytest.mark.parametrize("url", ["http://127.0.0.1:secret/", "http://secret\n.example/", "http://[secret/"])
def test_an_address_that_is_none_is_never_quoted(url: str) -> None:
    with pytest.raises(StoreError) as raised:
        channels.to_webhook(url, {"a": 1}, "key")
    assert "secret" not in str(raised.value)


def test_a_fifo_topic_leaves_out_what_it_has(s3_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    address = str(s3_settings.s3_endpoint_url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", address)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", address)
    about: Any = {"region_name": "eu-central-1"}
    sns, sqs = boto3.client("sns", **about), boto3.client("sqs", **about)
    topic = sns.create_topic(Name="alerts.fifo", Attributes={"FifoTopic": "true"})["TopicArn"]
    queue = sqs.create_queue(QueueName="alerts.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    message = {"dataset": "housets", "rule": "max_mdape", "state": "breach", "event": "alert"}
    for _ in range(2):
        channels.to_sns(topic, message, "key-1")
    (one,) = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert json.loads(json.loads(one["Body"])["Message"])["key"] == "key-1"
    with pytest.raises(StoreError, match="no such topic: correct ALERT_TOPIC"):
        channels.to_sns(topic.replace("alerts", "others"), message, "key-1")
    with pytest.raises(ConfigError, match="ALERT_TOPIC is no ARN"):
        channels.channels_of(Settings(alert_topic="alerts"))


def test_a_database_that_dies_before_the_telling_tells_after_its_return(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(workspace=tmp_path, database_url=SecretStr(postgres.url))
    way = Channel()

    def dying(message: Mapping[str, Any], key: str) -> None:
        postgres.kill()
        way(message, key)

    def look() -> None:
        with database.opened(settings) as engine:
            update(engine, [finding("max_mdape"), finding("max_drift_share")])
            alerts.deliver(engine, {"way": dying}, NOW)

    with pytest.raises(StoreError, match=r"127\.0\.0\.1"):
        look()
    postgres.start()
    with database.opened(settings) as engine:
        assert alerts.deliver(engine, {"way": way}, NOW + timedelta(seconds=channels.TIMEOUT_SECONDS)) == (1, {})
        assert alerts.deliver(engine, {"way": way}, NOW + timedelta(minutes=5)) == (1, {})
    first, *later = way.keys
    assert sorted({*later}) == sorted({*way.keys}), "told twice under the same key, as its end was not noted"
    assert way.keys.count(first) == 2


def test_the_command_fails_while_an_alert_lasts_though_too_little_is_known_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKSPACE", str(tmp_path))
    month = f"{datetime.now(UTC) - timedelta(days=31):%Y-%m}"
    with database.opened(Settings(workspace=tmp_path)) as engine:
        for rows, said in ((500, "at most 15.0%"), (3, "too little is known to say that it is over")):
            measures.replace(
                engine, "housets", month, "v1", [Measure("rows", rows, rows), Measure("mdape", 0.5, rows)], NOW
            )
            assert run_command(check.main, []) == 1
            assert said in capsys.readouterr().err
        measures.replace(engine, "housets", month, "v1", [Measure("rows", 500, 500), Measure("mdape", 0.1, 500)], NOW)
        assert run_command(check.main, []) == 0
        measures.replace(engine, "elsewhere", month, "v1", [Measure("rows", 500, 500)], NOW)
        assert run_command(check.main, []) == 2
        assert "nobody checks elsewhere, whose YAML is not here" in capsys.readouterr().err
        assert run_command(check.main, ["--dataset", "housets", "--dataset", "iris"]) == 0
