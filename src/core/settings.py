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
    predictions_store: str | None = Field(
        None,
        description="folder or s3://bucket/prefix, below which each dataset has a folder of the batch's output (unset: "
        "predictions/ beside an S3 model store's models/, else in the workspace)",
    )
    batch_input: str | None = Field(
        None,
        description="what the batch prices without --input: a file, a folder or s3://bucket/{dataset}.parquet, with "
        "{dataset} for the name (unset: the raw holdout)",
    )
    api_keys: SecretStr | None = Field(
        None, description="NAME:SCOPE:SHA256 of each API key, separated by spaces; `python -m src.api.keys` makes them"
    )
    allow_anonymous: bool = Field(False, description="serve without keys on other addresses than loopback as well")
    cache: Path | None = Field(
        None, description="writable folder of downloads and large uploads; the system's if unset"
    )
    sync_seconds: float = Field(10, gt=0, description="seconds between two looks at the store's pointers")
    rate_limit: float = Field(100, ge=0, description="requests a second of each API key or address; 0: no limit")
    rate_burst: int = Field(200, ge=1, description="requests that may come at once before the limit holds")
    max_body_mb: float = Field(10, gt=0, description="largest JSON body, MB")
    max_rows: int = Field(10_000, ge=1, description="most rows in a JSON body")
    max_bulk_mb: float = Field(2_000, gt=0, description="largest body of bulk scoring, MB")
    max_in_flight: int = Field(
        200, ge=1, description="requests that are worked on or wait; more are told to come again"
    )
    request_seconds: float = Field(30, gt=0, description="time limit of a request, its body's arrival included")
    drain_seconds: float = Field(5, ge=0, description="after SIGTERM: seconds in which new requests are still answered")
    cors_origins: str = Field(
        "", description="origins whose pages may call the API, separated by spaces; none if unset"
    )
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)] = Field(
        "INFO", description="how much is logged"
    )

    database_url: SecretStr | None = Field(
        None,
        description="SQLAlchemy URL of the monitoring database, SQLite or Postgres (unset: monitoring.db in the "
        "workspace)",
    )
    prediction_log: bool = Field(True, description="record what the API is asked and answers")
    shadow_share: float = Field(
        0, ge=0, le=1, description="share of requests that the newest version in staging prices as well, for the log"
    )
    predictions_kept_days: int = Field(400, ge=1, description="days after which a recorded prediction may be removed")
    alert_webhook: SecretStr | None = Field(None, description="URL that alerts are posted to as JSON, if any")
    alert_topic: str | None = Field(None, description="ARN of the SNS topic that alerts are published to, if any")

    api_url: str = Field("http://127.0.0.1:8000", description="where the dashboard finds the API")
    api_key: SecretStr | None = Field(None, description="the dashboard's own key for the API, if that asks for one")
    mlflow_ui_url: str | None = Field(None, description="where people open MLflow; the dashboard links its runs there")

    @property
    def models_uri(self) -> str | None:
        """Where the model store is, None for the workspace's own."""
        return self.model_store or (f"s3://{self.s3_bucket}" if self.s3_bucket else None)
