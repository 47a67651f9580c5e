"""What S3 and the way to it can answer, in words: bucket, key and remedy, and never a credential."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
)
from botocore.exceptions import (
    ConnectionError as UnreachableError,
)
from botocore.parsers import ResponseParserError

from src.core.errors import StoreError

ABSENT = frozenset({"NoSuchKey", "404"})
# 409: another conditional write of the same key was under way.
CONDITION_FAILED = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})

# In brief, and with the remedy.
_CREDENTIALS = (
    "the store refuses the credentials",
    "the credentials are refused: renew them (AWS_PROFILE, AWS_ACCESS_KEY_ID or the machine's role)",
)
_DENIED = (
    "the store denies access",
    "access denied: the credentials need s3:ListBucket on the bucket, s3:GetObject and PutObject on its objects",
)
_REGION = (
    "the store is in another region than was said",
    "the bucket is in another region: set AWS_REGION to the bucket's",
)
_BUSY = ("the store is overloaded or failing", "S3 is overloaded or failing: try again later")
_GONE = "the store is not there"
_STRANGE = "the store's answer cannot be understood"
_REMEDIES = {
    "NoSuchBucket": (
        _GONE,
        "there is no such bucket: create it, or correct MODEL_STORE, S3_BUCKET or PREDICTIONS_STORE",
    ),
    "InvalidBucketName": (_GONE, "that is not a bucket's name: correct MODEL_STORE, S3_BUCKET or PREDICTIONS_STORE"),
    "NoSuchKey": (
        "something of the version is missing in the store",
        "the object is gone: another process deleted it, or the store is damaged",
    ),
    "404": (_STRANGE, "what answers there is not S3, or has no such object: check S3_ENDPOINT_URL"),
    "AccessDenied": _DENIED,
    "403": _DENIED,
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "ExpiredToken": _CREDENTIALS,
    "InvalidToken": _CREDENTIALS,
    "RequestTimeTooSkewed": (
        "this machine's clock is wrong",
        "this machine's clock is wrong by more than 15 minutes: set it",
    ),
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "BadDigest": ("a file changed while it was uploaded", "the file changed while it was uploaded: publish again"),
    "SlowDown": _BUSY,
    "ServiceUnavailable": _BUSY,
    "InternalError": _BUSY,
}


def code_of(error: ClientError) -> str:
    """Return S3's code of an error, for example NoSuchKey."""
    return str(error.response.get("Error", {}).get("Code", "unknown"))


@contextmanager
def explained(bucket: str, key: str) -> Iterator[None]:
    """Turn whatever botocore raises into a StoreError that says bucket, key and remedy."""
    try:
        yield
    except (ClientError, BotoCoreError, ResponseParserError) as error:
        brief, remedy = _reason(error)
        raise StoreError(f"s3://{bucket}/{key}: {remedy}", brief=brief) from error


def no_s3(bucket: str, key: str) -> StoreError:
    """Make the error for an answer of 200 that S3 would not have given."""
    return StoreError(f"s3://{bucket}/{key}: {_REMEDIES['404'][1]}", brief=_STRANGE)


def _reason(error: Exception) -> tuple[str, str]:
    # botocore's own texts are not repeated: they can quote requests, and with them credentials.
    name = type(error).__name__
    if isinstance(error, ClientError):
        code = code_of(error)
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        said = code if code.isalnum() and code != "None" else f"with status {status}"
        other = f"S3 answered {said}: look it up in S3's error list"
        return _REMEDIES.get(code, (_BUSY[0] if status >= 500 else _STRANGE, other))
    if isinstance(error, NoCredentialsError | PartialCredentialsError | ProfileNotFound):
        remedy = "no credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use a role"
        return "there are no credentials for the store", remedy
    if isinstance(error, NoRegionError):
        return "the store's region is not known", "no region: set AWS_REGION"
    if isinstance(error, ConnectTimeoutError | ReadTimeoutError):
        return "the store does not answer in time", f"no answer in time ({name}): check the network and S3_ENDPOINT_URL"
    if isinstance(error, UnreachableError | HTTPClientError | IncompleteReadError):
        remedy = f"unreachable ({name}): check the network and S3_ENDPOINT_URL, then try again"
        return "the store cannot be reached, or hangs up", remedy
    remedy = f"S3 cannot be used ({name}): check AWS_REGION, S3_ENDPOINT_URL and the AWS configuration"
    return _STRANGE, remedy
