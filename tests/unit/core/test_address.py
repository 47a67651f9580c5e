"""Addresses: those with credentials are refused, and none is shown with its secrets."""

import pytest

from src.core.address import refuse_credentials, shown
from src.core.errors import ConfigError


@pytest.mark.parametrize(
    "address",
    [
        "https://jane:pw@host/market.csv",
        "s3://jane@bucket/market.csv",
        "postgresql://jane@host/db",
        "postgresql://jane:p/w@host/db",
        "postgresql://jane:p?w@host/db",
        "postgresql+psycopg://host/db?password=pw",
        "mysql+pymysql://host/db?passwd=pw",
        "snowflake://host/db?USER=jane",
        "mssql+pyodbc:///?odbc_connect=PWD%3Dpw",
        "https://[host/market.csv",
    ],
)
def test_credentials_are_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        refuse_credentials(address)
    assert all(secret not in str(caught.value) for secret in ("jane", "pw", "p/w", "p?w"))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("market.csv", "market.csv"),
        ("folder/a@b?.db", "folder/a@b?.db"),
        ("simulate:zips=4", "simulate:zips=4"),
        ("https://host/a@b.csv?signature=abc", "https://host/a@b.csv"),
        ("s3://bucket/2024/a@b.csv", "s3://bucket/2024/a@b.csv"),
        ("sqlite:///folder/a@b.db", "sqlite:///folder/a@b.db"),
        ("postgresql+psycopg://host:5432/db?sslmode=require", "postgresql+psycopg://host:5432/db"),
    ],
)
def test_other_addresses_are_taken_and_shown_without_their_query(address: str, expected: str) -> None:
    refuse_credentials(address)
    assert shown(address) == expected


@pytest.mark.parametrize("password", ["pw", "p@w", "p/w", "p?w", "p#w", "p:w", "p@/?w"])
def test_a_database_is_shown_without_its_user_and_password(password: str) -> None:
    assert shown(f"postgresql://jane:{password}@host/db?sslkey=key") == "postgresql://host/db"
