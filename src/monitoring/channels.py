"""Where alerts are told: a line of JSON at standard output, a webhook, an SNS topic."""

import json
import re
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from http.client import HTTPException
from typing import Any

from src.core.config import Settings
from src.core.errors import ConfigError, StoreError, why

# Tells a message under a key that stays the same when it is told again; StoreError where it is not taken.
Channel = Callable[[Mapping[str, Any], str], None]
TIMEOUT_SECONDS = 10.0
_TOPIC = re.compile(r"arn:[\w-]+:sns:(?P<region>[\w-]+):\d{12}:[\w-]+(?P<fifo>\.fifo)?")
# Of an answer that is about this message or this address; others say that nothing is taken now.
_NOT_NOW = frozenset({408, 425, 429})
_SNS_SAYS = {
    "NotFound": "there is no such topic: correct ALERT_TOPIC",
    "AuthorizationError": "it may not be published to: grant sns:Publish on it",
    "InvalidClientTokenId": "the credentials are refused: renew them",
    "ExpiredToken": "the credentials have expired: renew them",
    "SignatureDoesNotMatch": "the credentials are refused: renew them",
}


class RefusedError(StoreError):
    """The channel answers and does not take this message; it may take others."""


def channels_of(settings: Settings) -> dict[str, Channel]:
    """Return the channels that are set, the log first (ConfigError for an address that is none)."""
    found: dict[str, Channel] = {"log": to_log}
    if settings.alert_webhook and settings.alert_webhook.get_secret_value():
        url = settings.alert_webhook.get_secret_value()
        if not url.startswith(("http://", "https://")):
            raise ConfigError("ALERT_WEBHOOK is no address of http:// or https://")
        found["webhook"] = lambda message, key: to_webhook(url, message, key)
    if settings.alert_topic:
        topic = settings.alert_topic
        if not _TOPIC.fullmatch(topic):
            raise ConfigError(f"ALERT_TOPIC is no ARN of a topic, like arn:aws:sns:REGION:ACCOUNT:NAME (got {topic!r})")
        found["sns"] = lambda message, key: to_sns(topic, message, key)
    return found


def to_log(message: Mapping[str, Any], key: str) -> None:
    """Print the message as a line of JSON, which log services can count."""
    try:
        sys.stdout.write(json.dumps({**message, "key": key}) + "\n")
        sys.stdout.flush()
    except OSError as error:
        raise StoreError(f"standard output takes nothing: {why(error)}") from None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Take a redirect for a refusal: following one would send the alert to somebody else, as a GET."""


def to_webhook(url: str, message: Mapping[str, Any], key: str) -> None:
    """Post the message (StoreError unless the answer is 2xx within seconds); the address may be a secret."""
    body = {**message, "key": key, "text": f"{message.get('dataset')}: {message.get('message')}"}
    headers = {"Content-Type": "application/json", "Idempotency-Key": key, "User-Agent": "housecast"}
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        asked = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")  # noqa: S310  (checked)
        within(TIMEOUT_SECONDS, lambda: opener.open(asked, timeout=TIMEOUT_SECONDS).close())
    except urllib.error.HTTPError as error:
        error.close()
        kind = RefusedError if error.code < 500 and error.code not in _NOT_NOW else StoreError
        raise kind(f"the webhook answers {error.code}{_remedy(error.code)}") from None
    except TimeoutError:
        raise StoreError(f"the webhook has not answered in {TIMEOUT_SECONDS:g} s (timed out)") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        # Only what the system says: other texts may quote the address.
        said = why(reason) if isinstance(reason, OSError) else type(reason).__name__
        raise StoreError(f"the webhook cannot be reached: {said}: check ALERT_WEBHOOK and the network") from None


def _remedy(code: int) -> str:
    if code < 400:
        return ", a redirect, which is not followed: set ALERT_WEBHOOK to where it leads"
    if code in (401, 403, 404, 410):
        return ": correct ALERT_WEBHOOK, or make a new one there"
    return ": it is tried again" if code >= 500 or code in _NOT_NOW else ": it does not take messages like these"


def within(seconds: float, work: Callable[[], None]) -> None:
    """Do some work that must end in time as a whole (TimeoutError): a server that sends a byte now and then never ends.

    What has not ended goes on by itself; its outcome does not count any more.
    """
    done: Future[None] = Future()

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  (whoever waits for it gets it)
            done.set_exception(error)
        else:
            done.set_result(None)

    threading.Thread(target=run, name="telling an alert", daemon=True).start()
    done.result(seconds)


def to_sns(topic: str, message: Mapping[str, Any], key: str) -> None:
    """Publish the message (StoreError when SNS refuses or does not answer)."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    parts = _TOPIC.fullmatch(topic)
    assert parts
    subject = f"housecast {message['dataset']}: {message['rule']} {message['state']}"[:100]
    attributes = {name: str(message[name]) for name in ("dataset", "rule", "state", "event")} | {"key": key}
    ordered = {"MessageGroupId": str(message["dataset"]), "MessageDeduplicationId": key} if parts["fifo"] else {}
    seconds = TIMEOUT_SECONDS / 2
    try:
        client = boto3.Session().client(
            "sns",
            region_name=parts["region"],
            config=Config(connect_timeout=3, read_timeout=seconds, retries={"total_max_attempts": 2}),
        )
        client.publish(
            TopicArn=topic,
            Subject=subject,
            Message=json.dumps({**message, "key": key}, indent=2),
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            },
            **ordered,
        )
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        raise StoreError(f"SNS does not take it for {topic}: {_SNS_SAYS.get(code, code)}") from None
    except (BotoCoreError, ValueError) as error:
        raise StoreError(f"SNS does not take it for {topic}: {type(error).__name__}: {error}") from None
