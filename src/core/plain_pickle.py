"""Pickles that cannot run code: builtin containers, numbers and strings, nothing else."""

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any, NoReturn

from src.core.errors import BundleError, DataError
from src.core.files import replacing

PROTOCOL = 5
MAX_BYTES = 64 * 2**20
_CONTAINERS = (dict, list, tuple)
_SCALARS = (str, int, float, bool, type(None))
_MEMO_WRITES = {"PUT", "BINPUT", "LONG_BINPUT"}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise BundleError(
            f"asks for {module}.{name}; plain pickles name no class or function. Do not trust where it came from"
        )


def dump_plain(content: Any, path: Path) -> None:
    """Pickle plain content, atomically.

    Raises:
        DataError: something inside is not exactly a dict, list, tuple, str, int, float, bool or None
            (a numpy number is not a float), or is nested too deeply; `path` is untouched.
    """
    problem = _not_plain(content)
    if problem:
        raise DataError(f"cannot write {path.name}: {problem}; convert it to a builtin container, number or string")
    try:
        data = pickle.dumps(content, protocol=PROTOCOL)
    except RecursionError as error:
        raise DataError(f"cannot write {path.name}: the content is nested too deeply; use flatter tables") from error
    if len(data) > MAX_BYTES:
        raise DataError(f"cannot write {path.name}: {len(data):,} bytes, more than the {MAX_BYTES:,} that load admits")
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def load_plain(path: Path) -> Any:
    """Read a plain pickle without running anything that it names.

    Raises:
        BundleError: no such file, too large, corrupted, or it names a class or function.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise BundleError(f"{path}: larger than {MAX_BYTES:,} bytes; an honest encoder table is far smaller")
    try:
        _refuse_memo_bomb(data)
        content = _PlainUnpickler(io.BytesIO(data)).load()
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise BundleError(f"{path}: not a readable pickle ({type(error).__name__}: {error}); fetch it again") from error
    problem = _not_plain(content)
    if problem:
        raise BundleError(f"{path}: {problem}, which a plain pickle may not hold")
    return content


def _refuse_memo_bomb(data: bytes) -> None:
    """Refuse memo slots beyond the file's length: nine bytes can make the unpickler allocate 64 GB."""
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in _MEMO_WRITES and isinstance(argument, int) and argument > len(data):
            raise BundleError(f"uses memo slot {argument:,} in a file of {len(data):,} bytes: corrupted or hostile")


def _not_plain(content: Any) -> str | None:
    """Name the first value that is not plain and where it is; shared and circular parts are visited once."""
    seen: set[int] = set()
    pending: list[tuple[str, Any]] = [("content", content)]
    while pending:
        where, value = pending.pop()
        kind = type(value)
        if kind in _SCALARS:
            continue
        if kind not in _CONTAINERS:
            return f"{where} is a {kind.__module__}.{kind.__qualname__}"
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            pending.extend((f"a key of {where}", key) for key in value)
            pending.extend((f"{where}[{key!r}]", item) for key, item in value.items())
        else:
            pending.extend((f"{where}[{i}]", item) for i, item in enumerate(value))
    return None
