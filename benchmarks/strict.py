"""Callers that check every answer to the last digit, at a steady rate or as fast as they can."""

import json
import socket
import threading
import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from src.inference_pipeline.predictor import Prediction, Predictor

Rows = Sequence[Mapping[str, Any]]
MOST_TOLD = 5


class Question:
    """A request and the right answers to it, by version; one that was right once is known by its bytes."""

    def __init__(self, rows: Rows, predictors: Sequence[Predictor], port: int, headers: Mapping[str, str]) -> None:
        body = json.dumps(rows).encode()
        told = {"Host": f"127.0.0.1:{port}", "Content-Type": "application/json", **headers}
        lines = ["POST /predict HTTP/1.1", *(f"{name}: {value}" for name, value in told.items())]
        self.request = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body
        self._wanted = {one.version: _answer(one.predict(rows)) for one in predictors}
        self._known: set[bytes] = set()

    def fault(self, answer: bytes) -> str:
        """Say what is wrong with an answer's body, nothing if it is right."""
        if answer in self._known:
            return ""
        said = json.loads(answer)
        version = said["model"]["version"]
        for other, wanted in self._wanted.items():
            prices, ends = wanted
            if said["predictions"] == prices and said["intervals"] == ends:
                if other != version:
                    return f"says {version} and has the prices of {other}"
                self._known.add(answer)
                return ""
        return f"says {version} and has not its prices"


def _answer(said: Any) -> tuple[list[float], dict[str, list[list[float]]]]:
    assert isinstance(said, Prediction)
    ends = {
        f"{100 * level:g}": [
            list(pair) for pair in zip(said.lower[level].tolist(), said.upper[level].tolist(), strict=True)
        ]
        for level in said.lower
    }
    return said.estimate.tolist(), ends


@dataclass
class Heard:
    """What one caller heard: when each answer was whole (perf_counter) and how long it took since it was due."""

    at: "array[float]" = field(default_factory=lambda: array("d"))
    seconds: "array[float]" = field(default_factory=lambda: array("d"))
    failures: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Callers:
    """Threads with a connection each, which ask one question after the other until the block ends."""

    def __init__(self, port: int, questions: Sequence[Question], count: int, per_second: float = 0) -> None:
        """Ask `per_second` times in all, or as fast as answers come if that is 0."""
        self.heard = [Heard() for _ in range(count)]
        self._port, self._questions = port, questions
        self._interval = count / per_second if per_second else 0.0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(count)]
        self.began = self.ended = 0.0

    def __enter__(self) -> "Callers":
        self.began = time.perf_counter()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.ended = time.perf_counter()

    @property
    def per_second(self) -> float:
        return sum(len(one.at) for one in self.heard) / (self.ended - self.began)

    def _ask(self, who: int) -> None:
        heard, connection, turn = self.heard[who], None, who
        due = self.began + self._interval * who / len(self.heard)
        while not self._stop.is_set():
            if self._interval:
                time.sleep(max(0.0, due - time.perf_counter()))
            else:
                due = time.perf_counter()
            question = self._questions[turn % len(self._questions)]
            turn += 1
            try:
                connection = connection or socket.create_connection(("127.0.0.1", self._port), timeout=60)
                answer = asked(connection, question.request)
            except OSError as error:
                heard.failures.append(repr(error))
                connection = None
                continue
            now = time.perf_counter()
            heard.at.append(now)
            heard.seconds.append(now - due)
            due += self._interval
            fault = question.fault(answer[1]) if answer[0] == 200 else ""
            if answer[0] != 200:
                heard.failures.append(f"{answer[0]}: {answer[1][:300].decode(errors='replace')}")
            if fault:
                heard.faults.append(fault)
        if connection:
            connection.close()


def asked(connection: socket.socket, request: bytes) -> tuple[int, bytes]:
    """Send a request and return the status and the whole body (OSError when it does not come)."""
    connection.sendall(request)
    got = connection.recv(262_144)
    while (end := got.find(b"\r\n\r\n")) < 0:
        got += _more(connection)
    head = got[:end].lower()
    size = int(head.split(b"content-length: ")[1].split(b"\r\n")[0]) + end + 4
    while len(got) < size:
        got += _more(connection)
    return int(head[9:12]), got[end + 4 :]


def _more(connection: socket.socket) -> bytes:
    part = connection.recv(262_144)
    if not part:
        raise ConnectionError("closed before the answer was whole")
    return part
