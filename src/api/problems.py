"""What a refused request is answered: a problem document (RFC 9457), without stack, path or secret."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic_core import to_json
from starlette.exceptions import HTTPException

from src.core.errors import BundleError, ConfigError, DataError, GateError, HousecastError, InvalidRowsError, StoreError

MEDIA_TYPE = b"application/problem+json"
MOST_ERRORS = 100
# Errors whose text may name places of this machine, and what a caller is told in their stead.
_QUIET = {
    StoreError: (503, "store", "The model store does not answer; the log says why."),
    BundleError: (503, "bundle", "The model version cannot be used; the log says why."),
}
_PLAIN = {
    ConfigError: (400, "request"),
    DataError: (422, "data"),
    GateError: (409, "gate"),
}


class Problem(HTTPException):
    """A refusal: `status`, the `kind` that a program tells it by, a sentence, further members and headers."""

    def __init__(
        self, status: int, kind: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(status, detail, headers)
        self.status, self.kind, self.members = status, kind, members

    def body(self, request_id: str) -> bytes:
        """Write the problem document."""
        content = {
            "type": f"urn:housecast:problem:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.members,
            "request_id": request_id,
        }
        return to_json(content, inf_nan_mode="null")

    def at(self, path: str) -> "Problem":
        """Return the refusal as it is told at a path: where the Open Inference Protocol is spoken, with its `error`."""
        if path == "/v2" or path.startswith("/v2/"):
            self.members.setdefault("error", self.detail)
        return self

    async def send(self, request_id: str, answer: Any) -> None:
        """Send the document over ASGI."""
        body = self.body(request_id)
        headers = [(b"content-type", MEDIA_TYPE), (b"content-length", str(len(body)).encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in (self.headers or {}).items()]
        await answer({"type": "http.response.start", "status": self.status, "headers": headers})
        await answer({"type": "http.response.body", "body": body})


def of_error(error: HousecastError) -> Problem:
    """Turn an error of housecast's into what a caller may know of it."""
    if isinstance(error, InvalidRowsError):
        return invalid_rows(error)
    for kind, (status, name, text) in _QUIET.items():
        if isinstance(error, kind):
            return Problem(status, name, text, headers={"Retry-After": "10"})
    for kind, (status, name) in _PLAIN.items():
        if isinstance(error, kind):
            return Problem(status, name, str(error))
    return Problem(500, "internal", "The request failed; the log says why.")


def invalid_rows(error: InvalidRowsError) -> Problem:
    """List each problem with row number (from 0), field and what was wrong; the first hundred of them."""
    listed = [{"row": row, "field": field, "detail": what} for row, field, what in error.problems[:MOST_ERRORS]]
    rows = len({row for row, _, _ in error.problems})
    detail = f"{rows:,} row{'s' if rows > 1 else ''} cannot be priced; nothing was."
    return Problem(422, "invalid-rows", detail, errors=listed, error_count=len(error.problems))
