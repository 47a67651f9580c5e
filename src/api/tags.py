"""ETags: an answer that the caller has already is not sent again."""

import hashlib

from starlette.requests import Request
from starlette.responses import Response


def tag_of(*parts: str) -> str:
    """Return a tag that is the same for the same parts."""
    content = "\n".join(parts)
    return f'"{hashlib.sha256(content.encode()).hexdigest()[:32]}"'


def headers_of(tag: str) -> dict[str, str]:
    """Return the headers of an answer that may be kept, and is asked for again by its tag."""
    return {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Accept"}


def unchanged(request: Request, tag: str) -> Response | None:
    """Return 304 for who has the answer of this tag, else None."""
    sent = request.headers.get("if-none-match", "").split(",")
    known = any(one.strip().removeprefix("W/") in (tag, "*") for one in sent)
    return Response(status_code=304, headers=headers_of(tag)) if known else None
