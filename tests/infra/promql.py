"""Enough of PromQL to read the expressions of `infra/grafana` and to hold them against the metrics that there are."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

TOKEN = re.compile(
    r'\s*(?:(?P<number>\d+(?:\.\d+)?(?![\w.]))|(?P<range>\[[^\]]+\])|(?P<name>\$?[a-zA-Z_:][\w:]*)|(?P<text>"[^"]*")'
    r"|(?P<sign>=~|!~|!=|==|>=|<=|[-+*/(){},=<>]))"
)
RANGE = re.compile(r"\[(?:\d+[smhdw]|\$__rate_interval)\]")
LEVELS: Sequence[frozenset[str]] = (
    frozenset({"or"}),
    frozenset({"and", "unless"}),
    frozenset({"==", "!=", ">", "<", ">=", "<="}),
    frozenset({"+", "-"}),
    frozenset({"*", "/"}),
)
AGGREGATIONS = frozenset({"sum", "max", "min", "avg", "count"})
# Of counters only.
OVER_TIME = frozenset({"rate", "increase"})
COUNTERS = ("_total", "_bucket", "_count", "_sum")
# What Prometheus itself adds.
ADDED = frozenset({"job", "instance"})


class Matcher(NamedTuple):
    """A condition on a label: `operator` is =, !=, =~ or !~."""

    metric: str
    label: str
    operator: str
    value: str


@dataclass(frozen=True)
class Vector:
    """What an expression gives: its labels, None of a plain number; `span` of a range still to be summed up."""

    labels: frozenset[str] | None
    metric: str = ""
    span: str = ""


class Query:
    """One expression, read and checked; ValueError where Prometheus would refuse it or it could never match."""

    def __init__(self, text: str, known: Mapping[str, frozenset[str]]) -> None:
        self.text, self.known = text, known
        self.metrics: set[str] = set()
        self.matchers: list[Matcher] = []
        self._tokens = list(_tokens(text))
        self.result = self._binary(0)
        if self._tokens:
            raise self._wrong(f"not understood from {self._tokens[0]!r} on")
        if self.result.span:
            raise self._wrong("a range that nothing sums up")

    @property
    def labels(self) -> frozenset[str]:
        """Labels of what it gives."""
        return self.result.labels or frozenset()

    def _wrong(self, what: str) -> ValueError:
        return ValueError(f"{self.text}: {what}")

    def _next(self, *wanted: str) -> str:
        token = self._tokens.pop(0) if self._tokens else ""
        if wanted and token not in wanted:
            raise self._wrong(f"{' or '.join(wanted)} expected, not {token!r}")
        return token

    def _peek(self) -> str:
        return self._tokens[0] if self._tokens else ""

    def _binary(self, level: int) -> Vector:
        if level == len(LEVELS):
            return self._one()
        left = self._binary(level + 1)
        while self._peek() in LEVELS[level]:
            operator, right = self._next(), self._binary(level + 1)
            if left.span or right.span:
                raise self._wrong("a range in arithmetic")
            if operator in LEVELS[0] | LEVELS[1] and None in (left.labels, right.labels):
                raise self._wrong(f"{operator} of a number")
            if None not in (left.labels, right.labels) and left.labels != right.labels:
                raise self._wrong(f"{operator} of different labels, which match nothing")
            left = Vector(right.labels if left.labels is None else left.labels)
        return left

    def _one(self) -> Vector:
        token = self._next()
        if token == "(":
            found = self._binary(0)
            self._next(")")
            return found
        if re.fullmatch(r"\d.*", token):
            return Vector(None)
        if token in AGGREGATIONS:
            return self._aggregation()
        if self._peek() == "(":
            return self._call(token)
        return self._selector(token)

    def _aggregation(self) -> Vector:
        by = self._by() if self._peek() == "by" else frozenset()
        self._next("(")
        inner = self._binary(0)
        self._next(")")
        by = self._by() if self._peek() == "by" else by
        if inner.labels is None or inner.span:
            raise self._wrong("an aggregation of what is no vector")
        if by - inner.labels:
            raise self._wrong(f"by {sorted(by - inner.labels)}, which it has not")
        return Vector(by)

    def _by(self) -> frozenset[str]:
        self._next("by")
        self._next("(")
        found = [self._next()]
        while self._next(",", ")") == ",":
            found.append(self._next())
        return frozenset(found)

    def _call(self, name: str) -> Vector:
        self._next("(")
        given = []
        while self._peek() != ")":
            given.append(self._binary(0))
            if self._peek() != ")":
                self._next(",")
        self._next(")")
        if name == "time" and not given:
            return Vector(None)
        if name in OVER_TIME and len(given) == 1 and given[0].span:
            if not given[0].metric.endswith(COUNTERS):
                raise self._wrong(f"{name} of {given[0].metric}, which does not count")
            return Vector(given[0].labels)
        if name == "histogram_quantile" and len(given) == 2 and "le" in (given[1].labels or ()):
            return Vector((given[1].labels or frozenset()) - {"le"})
        if name == "absent" and len(given) == 1 and not given[0].span:
            return Vector(frozenset())
        raise self._wrong(f"{name} of {len(given)} arguments like these")

    def _selector(self, metric: str) -> Vector:
        if metric not in self.known:
            raise self._wrong(f"there is no metric {metric}")
        self.metrics.add(metric)
        labels = self.known[metric] | ADDED
        if self._peek() == "{":
            self._next("{")
            while self._peek() != "}":
                label, operator, value = self._next(), self._next("=", "!=", "=~", "!~"), self._next()
                if label not in labels or not value.startswith('"'):
                    raise self._wrong(f"{metric} has no label {label}")
                self.matchers.append(Matcher(metric, label, operator, value.strip('"')))
                if self._peek() != "}":
                    self._next(",")
            self._next("}")
        span = self._next() if self._peek().startswith("[") else ""
        if span and not RANGE.fullmatch(span):
            raise self._wrong(f"{span} is no range")
        return Vector(labels, metric, span)


def _tokens(text: str) -> Sequence[str]:
    found, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = TOKEN.match(text, at)
        if not match:
            raise ValueError(f"{text}: not understood at {text[at:]!r}")
        found.append(match[0].strip())
        at = match.end()
    return found
