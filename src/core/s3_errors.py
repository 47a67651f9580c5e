"""What S3 and the way to it can answer, in words: bucket, key and remedy, and never a credential."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.exceptions import (
    ConnectionError as UnreachableError,
)

from src.core.errors import StoreError

ABSENT = frozenset({"NoSuchKey", "404"})
# 409: another conditional write of the same key was under way.
CONDITION_FAILED = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})

_CREDENTIALS = "the credentials are refused: renew them (AWS_PROFILE, AWS_ACCESS_KEY_ID or the machine's role)"
_DENIED = "access denied: the credentials need s3:ListBucket on the bucket, s3:GetObject and PutObject on its objects"
_REGION = "the bucket is in another region: set AWS_REGION to the bucket's"
_BUSY = "S3 is overloaded or failing: try again later"
_REMEDIES = {
    "NoSuchBucket": "there is no such bucket: create it, or correct MODEL_STORE, S3_BUCKET or PREDICTIONS_STORE",
    "InvalidBucketName": "that is not a bucket's name: correct MODEL_STORE, S3_BUCKET or PREDICTIONS_STORE",
    "NoSuchKey": "the object is gone: another process deleted it, or the store is damaged",
    "404": "what answers there is not S3, or has no such object: check S3_ENDPOINT_URL",
    "AccessDenied": _DENIED,
    "403": _DENIED,
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "ExpiredToken": _CREDENTIALS,
    "InvalidToken": _CREDENTIALS,
    "RequestTimeTooSkewed": "this machine's clock is wrong by more than 15 minutes: set it",
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "BadDigest": "the file changed while it was uploaded: publish again",
    "SlowDown": _BUSY,
    "ServiceUnavailable": _BUSY,
    "InternalError": _BUSY,
}


def code_of(error: ClientError) -> str:
    """Return S3's code of an error, for example NoSuchKey."""
    return str(error.response.get("Error", {}).get("Code", "unknown"))


@contextmanager
def explained(bucket: str, key: str) -> Iterator[None]:
    """Turn every botocore error into a StoreError that says bucket, key and remedy."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise StoreError(f"s3://{bucket}/{key}: {_reason(error)}") from error


def _reason(error: ClientError | BotoCoreError) -> str:
    # botocore's own texts are not repeated: they can quote requests, and with them credentials.
    if isinstance(error, ClientError):
        code = code_of(error)
        return _REMEDIES.get(code, f"S3 answered {code}: look the code up in S3's error list")
    if isinstance(error, NoCredentialsError | PartialCredentialsError | ProfileNotFound):
        return "no credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use a role"
    if isinstance(error, NoRegionError):
        return "no region: set AWS_REGION"
    if isinstance(error, UnreachableError | HTTPClientError):
        return f"unreachable ({type(error).__name__}): check the network and S3_ENDPOINT_URL, then try again"
    return f"S3 cannot be used ({type(error).__name__}): check AWS_REGION, S3_ENDPOINT_URL and the AWS configuration"
