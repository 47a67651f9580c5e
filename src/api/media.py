"""The types in which bulk bodies come and answers go."""

from collections.abc import Iterable

from src.api.problems import Problem
from src.inference_pipeline.bulk import Format

# Each format's own name first.
NAMES = {
    Format.CSV: ("text/csv", "application/csv"),
    Format.NDJSON: ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"),
    Format.PARQUET: ("application/vnd.apache.parquet", "application/x-parquet"),
    Format.ARROW: ("application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.file"),
}
_FORMATS = {name: kind for kind, names in NAMES.items() for name in names}
TAKEN = tuple(_FORMATS)
# Arrow is given as a stream only.
GIVEN = tuple(name for name in TAKEN if name != "application/vnd.apache.arrow.file")
_KNOWN = ", ".join(names[0] for names in NAMES.values())


def formats(headers: Iterable[tuple[bytes, bytes]]) -> tuple[Format, Format, bytes]:
    """Return what a body is, what is to be answered, and that as a content type.

    Without a wish the answer is of the body's type.

    Raises:
        Problem: the body is of another type or encoded (415), or no type that is accepted can be given (406).
    """
    said = {name: value.decode("latin-1").strip().lower() for name, value in headers}
    name, _, parameters = said.get(b"content-type", "").partition(";")
    kind = _FORMATS.get(name.strip())
    if kind is None:
        raise Problem(415, "media-type", f"Say by Content-Type what the body is: {_KNOWN} (or ...arrow.file).")
    charset = parameters.partition("charset=")[2].split(";")[0].strip(' "')
    if charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise Problem(415, "media-type", f"Texts are taken as UTF-8, not as {charset[:40]}.")
    if said.get(b"content-encoding", "identity") != "identity":
        raise Problem(415, "media-type", "The body must not be compressed as a whole; Parquet and Arrow may be inside.")
    given = _chosen(said.get(b"accept", ""), NAMES[kind][0])
    return kind, _FORMATS[given], given.encode()


def _chosen(accept: str, own: str) -> str:
    """Take the accepted type of the greatest weight; of equal ones the first named, and the body's own where it may."""
    best, most = "", 0.0
    for part in accept.split(",") if accept else ["*/*"]:
        pattern, *parameters = (one.strip() for one in part.split(";"))
        start = "" if pattern == "*/*" else pattern[:-1] if pattern.endswith("/*") else None
        fitting = [name for name in (own, *GIVEN) if (name == pattern if start is None else name.startswith(start))]
        weight = _weight(parameters)
        if fitting and weight > most:
            best, most = fitting[0], weight
    if not best:
        raise Problem(406, "not-acceptable", f"Prices of a file are given as {_KNOWN}.")
    return best


def _weight(parameters: Iterable[str]) -> float:
    for one in parameters:
        if one.startswith("q="):
            try:
                return float(one[2:])
            except ValueError:
                return 0.0
    return 1.0
