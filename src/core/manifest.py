"""The manifest of a model version: where it came from, what it needs and what its files are."""

import hashlib
import json
import platform
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from src.core import signature
from src.core.errors import BundleError

MANIFEST = "manifest.json"
# A bundle holds one of these models; each is read safely only by the version of the package that wrote it.
MODELS = {"model.ubj": "xgboost", "model.skops": "scikit-learn"}
CONTENTS = (
    "encoders.pkl",
    "config.yaml",
    "reference.parquet",
    "golden.json",
    "metrics.json",
    "model_card.md",
)
# The newest row of each place. Data sets without places have none, nor have versions made before there was one.
RECENT = "recent.parquet"
FILES = (*MODELS, *CONTENTS, RECENT, MANIFEST)
MAX_FILE_BYTES = 2**30
MAX_MANIFEST_BYTES = 2**16
DATASET = re.compile(r"[a-z][a-z0-9_]{0,63}")
NOT_SIGNED = "the version is not signed as asked"
VERSION = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(_Section):
    """What one file of the bundle must be."""

    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    size: int = Field(ge=0, le=MAX_FILE_BYTES)


class Manifest(_Section):
    """Where a model version came from, what it needs and what its files are."""

    format: Literal[1] = 1
    dataset: Annotated[str, StringConstraints(pattern=f"^{DATASET.pattern}$")]
    version: Annotated[str, StringConstraints(pattern=f"^{VERSION.pattern}$")]
    created: AwareDatetime
    git_commit: str
    data_fingerprint: str
    packages: dict[str, str]
    files: dict[str, FileEntry]
    signature: str | None = None

    def signed_bytes(self) -> bytes:
        """Return the canonical form that the signature covers: sorted compact JSON of all but the signature."""
        content = self.model_dump(mode="json", exclude={"signature"})
        return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def new_version(now: datetime, data_fingerprint: str, config_digest: str) -> str:
    """Name a version so that names sort by time, for example 20261120T231500Z-1a2b3c4d; `now` must have a zone."""
    if now.tzinfo is None:
        raise ValueError("now must have a time zone")
    digest = hashlib.sha256(f"{data_fingerprint}:{config_digest}".encode()).hexdigest()
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{digest[:8]}"


def parse_manifest(text: bytes, where: str, public_key: str | None = None) -> Manifest:
    """Read a manifest and check its names and signature, not the files (BundleError)."""
    if len(text) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{where} is larger than {MAX_MANIFEST_BYTES:,} bytes: not a manifest")
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        raise BundleError(f"{where} is not a manifest: {first_problem(error)}") from error
    check_names([*manifest.files, MANIFEST], f"{where} (its list of files)")
    if public_key:
        if manifest.signature is None:
            raise BundleError(
                f"{where} is not signed, and a public key is set: seal it with the private key", brief=NOT_SIGNED
            )
        if not signature.matches(manifest.signed_bytes(), manifest.signature, public_key):
            raise BundleError(
                f"{where}: the signature does not match the public key: altered, or another signer's", brief=NOT_SIGNED
            )
    return manifest


def check_names(names: Iterable[str], where: str, optional: Iterable[str] = ()) -> None:
    """Refuse any set of names but those of a bundle, saying which are missing or extra (BundleError)."""
    there = set(names)
    extra = sorted(there - set(FILES))
    if extra:
        raise BundleError(f"{where}: {extra[0]!r} does not belong in a bundle. A bundle holds {', '.join(FILES)}")
    missing = [name for name in (*CONTENTS, MANIFEST) if name not in there and name not in set(optional)]
    models = there & set(MODELS)
    if len(models) > 1:
        raise BundleError(f"{where}: {' and '.join(sorted(models))} are two models, and a bundle holds one")
    if not models:
        missing.insert(0, next(iter(MODELS)))
    if missing:
        raise BundleError(f"{where}: {', '.join(missing)} missing")


def check_listed(names: Iterable[str], manifest: Manifest, where: str) -> None:
    """Refuse a bundle that has other files than its manifest vouches for, saying which (BundleError)."""
    there, listed = set(names), {*manifest.files, MANIFEST}
    check_names(there, where)
    if unlisted := sorted(there - listed):
        raise BundleError(f"{where}: {', '.join(unlisted)} is not in the manifest, which vouches for every file")
    if missing := sorted(listed - there):
        raise BundleError(f"{where}: {', '.join(missing)} missing")


def installed_packages() -> dict[str, str]:
    """Return the versions of what a model's answers depend on; XGBoost under one name whatever its wheel's."""
    found = {name: _installed(name) for name in ("numpy", "polars", "narwhals", "scikit-learn", "housecast")}
    # The CPU wheel is a distribution of its own.
    xgboost = _installed("xgboost-cpu")
    found["xgboost"] = xgboost if xgboost != "absent" else _installed("xgboost")
    return found | {"python": platform.python_version()}


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def first_problem(error: ValidationError) -> str:
    """Return the first of pydantic's complaints in one line, without the offending input."""
    problem = error.errors(include_input=False)[0]
    return f"{'.'.join(str(part) for part in problem['loc']) or 'content'}: {problem['msg']}"
