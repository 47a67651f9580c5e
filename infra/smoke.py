#!/usr/bin/env python3
"""Try a running stack from outside: the API is ready, prices a real row and refuses strangers; the dashboard answers.

The key is read from API_KEY. Exit codes: 0 all is well, 1 something is not, with what it is, 2 the arguments are wrong.
"""

import argparse
import json
import math
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

ANSWER_SECONDS = 30


class SmokeError(Exception):
    """What is not as it should be."""


def ask(address: str, key: str | None = None, body: Any = None) -> tuple[int, str]:
    """Return status and text of an answer (SmokeError where there is none)."""
    request = urllib.request.Request(address, None if body is None else json.dumps(body).encode())  # noqa: S310
    request.add_header("Content-Type", "application/json")
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise SmokeError(f"{address} does not answer: {getattr(error, 'reason', None) or error}") from error


def wanted(address: str, key: str | None = None, body: Any = None) -> str:
    """Return the text of a 200 (SmokeError otherwise, with what the answer says)."""
    status, text = ask(address, key, body)
    if status != 200:
        raise SmokeError(f"{address} answers {status}: {in_words(text)}")
    return text


def in_words(text: str) -> str:
    """Return the detail of a problem, or the beginning of what else came."""
    try:
        return str(json.loads(text)["detail"])
    except (ValueError, KeyError, TypeError):
        return " ".join(text.split())[:200]


def check_ready(url: str, seconds: float) -> None:
    """Wait until the API is ready; a deployment may just be ending."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            wanted(f"{url}/health/ready")
        except SmokeError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
        else:
            return


def check_prediction(url: str, dataset: str, key: str | None) -> str:
    """Have the data set's example priced; returns what it is and by which version."""
    address = f"{url}/datasets/{quote(dataset, safe='')}"
    said = parsed(address, wanted(address, key))
    answer = parsed(address, wanted(f"{address}/predict", key, said["example"]))
    (value,) = answer["predictions"]
    if not (isinstance(value, str) or (math.isfinite(value) and value > 0)):
        raise SmokeError(f"{address}/predict answers {value}, which is no price")
    if key:
        status, _ = ask(f"{address}/predict", None, said["example"])
        if status != 401:
            raise SmokeError(f"{address}/predict answers {status} without a key, and not 401")
    return f"{value} by {answer['model']['version']}"


def parsed(address: str, text: str) -> Any:
    """Read JSON (SmokeError where something else answers)."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise SmokeError(f"{address} answers something else than the API does: {in_words(text)}") from error


def check_dashboard(url: str) -> None:
    """See that the page comes and that its server runs."""
    if "streamlit" not in wanted(f"{url}/").lower():
        raise SmokeError(f"{url}/ is not the dashboard's page")
    wanted(f"{url}/_stcore/health")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the checks from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="of the balancer, e.g. https://homes.example.org")
    parser.add_argument("--dataset", default="housets", help="which data set is asked for a price")
    parser.add_argument("--dashboard", help="URL of the dashboard; /dashboard of the balancer if not given")
    parser.add_argument("--seconds", type=float, default=60, help="how long the API may take to be ready")
    args = parser.parse_args(argv)
    url, key = args.url.rstrip("/"), os.environ.get("API_KEY")
    try:
        check_ready(url, args.seconds)
        priced = check_prediction(url, args.dataset, key)
        check_dashboard((args.dashboard or f"{url}/dashboard").rstrip("/"))
    except SmokeError as error:
        print(f"smoke: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(f"smoke: {url} is ready, {args.dataset}: {priced}, and the dashboard answers")  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
