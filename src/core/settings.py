"""`Settings`: everything that changes a deployment, read from the environment."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The deployment: read from the environment once, with defaults that work on a laptop."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    default_dataset: str = Field("housets", description="dataset of a command without --dataset")
    data_root: Path = Field(Path("data"), description="folder in which raw market files are looked for")
    sql_url: SecretStr | None = Field(
        None, description="SQLAlchemy URL that the config's table or query is read from, in place of a file"
    )
    workspace: Path = Field(Path(), description="folder that holds data/, models/, reports/ and predictions/")
    model_store: str | None = Field(None, description="folder or s3://bucket/prefix (unset: S3_BUCKET, else models/)")
    s3_bucket: str | None = Field(None, description="bucket of the model store")
    s3_endpoint_url: str | None = Field(None, description="S3 endpoint other than AWS's own")
    aws_region: str | None = Field(None, description="region of the bucket")
    mlflow_tracking_uri: str | None = Field(None, description="unset: mlflow.db in the workspace")
    bundle_public_key: str | None = Field(None, description="Ed25519 public key in hex; bundles must then be signed")
    bundle_private_key: str | None = Field(None, description="Ed25519 private key in hex; publishing then signs")
    threads: int | None = Field(None, ge=1, description="threads of training and bulk scoring; all cores if unset")
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)] = Field(
        "INFO", description="how much is logged"
    )
