"""Sources fetched from real servers, and all the ways in which they fail: one clear message, nothing half-written."""

import socket
import sys
import threading
import types
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from src.core.config import DatasetConfig, Settings
from src.core.errors import ConfigError, DataError
from src.core.s3_store import connect
from src.feature_pipeline import load, sources
from tests.factories import housets_frame
from tests.integration.stores import SECRET, isolate_aws

HANDLE = "shengkunwang/housets-dataset"


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("market") / "market.csv"
    housets_frame(rows=400).write_csv(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def server(market: bytes) -> Iterator[str]:
    """Serve the market well, and in every broken way that a path names."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = True
            fault = self.path.split("?")[0].strip("/").split("/")[0]
            if fault == "missing":
                self.send_error(404, "Not Found")
                return
            self.send_response(200)
            match fault:
                case "cut":
                    self.send_header("Content-Length", str(len(market)))
                    self.end_headers()
                    self.wfile.write(market[:-1000])
                case "cut-chunks":
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    self.wfile.write(b"%x\r\n%b" % (len(market), market[:-1000]))
                case "no-length":
                    self.end_headers()
                    self.wfile.write(market)
                case "page":
                    self.send_header("Content-Length", "20")
                    self.end_headers()
                    self.wfile.write(b"<html>log in</html>\n")
                case _:
                    self.send_header("Content-Length", str(len(market)))
                    self.end_headers()
                    self.wfile.write(market)

        def log_message(self, *arguments: Any) -> None:
            """Keep the test's output clean."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def dead_endpoint() -> Iterator[str]:
    """A port that is taken and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def run(source: str, config: DatasetConfig, settings: Settings) -> load.Loaded:
    return load.run(config, source, settings, settings.workspace / "raw")


@pytest.mark.parametrize("path", ["good/market.csv", "no-length/market.csv", "good/MARKET.CSV?X-Signature=abc"])
def test_a_file_from_the_web_is_loaded(
    server: str, path: str, market: bytes, config: DatasetConfig, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = run(f"{server}/{path}", config, settings)
    assert loaded.rows == 400
    assert loaded.source == f"{server}/{path.split('?')[0]}"
    assert list(contents(settings.workspace / "downloads").values()) == [market]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("path", "error", "said"),
    [
        ("missing/market.csv", DataError, "the server answers 404 Not Found"),
        ("cut/market.csv", DataError, r"broke off after [\d,]+ of [\d,]+ bytes; try again"),
        ("cut-chunks/market.csv", DataError, "cannot download .*IncompleteRead"),
        ("good/market.xlsx", ConfigError, r"market.xlsx does not end with one of \.csv"),
        ("good/", ConfigError, "does not end with one of"),
        ("page/market.csv", DataError, "market.csv lacks the columns date, median_sale_price"),
        ("good/market.parquet", DataError, "is named as Parquet but its content is text"),
    ],
)
def test_a_web_failure_is_named_and_leaves_no_split(
    server: str, path: str, error: type[Exception], said: str, config: DatasetConfig, settings: Settings
) -> None:
    with pytest.raises(error, match=said) as caught:
        run(f"{server}/{path}?token={SECRET}", config, settings)
    assert SECRET not in str(caught.value)
    assert not (settings.workspace / "raw").exists()
    partial = [name for name in contents(settings.workspace) if ".tmp" in name]
    assert partial == []


def test_a_download_that_breaks_off_keeps_the_earlier_one(
    server: str, market: bytes, config: DatasetConfig, settings: Settings
) -> None:
    run(f"{server}/good/market.csv", config, settings)
    before = contents(settings.workspace)
    with pytest.raises(DataError, match="broke off"):
        run(f"{server}/cut/market.csv", config, settings)
    assert contents(settings.workspace) == before


def test_a_server_that_is_down(dead_endpoint: str, config: DatasetConfig, settings: Settings) -> None:
    with pytest.raises(DataError, match=r"cannot download .*Connection refused"):
        run(f"{dead_endpoint}/market.csv", config, settings)
    assert contents(settings.workspace) == {}


@pytest.mark.parametrize("scheme", ["https", "s3"])
def test_an_address_with_a_password_is_refused_and_not_repeated(
    scheme: str, config: DatasetConfig, settings: Settings
) -> None:
    with pytest.raises(ConfigError, match="an address with a user or password") as caught:
        run(f"{scheme}://someone:{SECRET}@host/market.csv", config, settings)
    assert SECRET not in str(caught.value)


@pytest.fixture
def bucket(s3_settings: Settings, market: bytes) -> Iterator[str]:
    client: Any = connect("raw-data", s3_settings)
    client.create_bucket(Bucket="raw-data")
    client.put_object(Bucket="raw-data", Key="2024/market.csv", Body=market)
    yield "raw-data"
    client.delete_object(Bucket="raw-data", Key="2024/market.csv")
    client.delete_bucket(Bucket="raw-data")


def test_an_object_from_s3_is_loaded(bucket: str, market: bytes, config: DatasetConfig, s3_settings: Settings) -> None:
    loaded = run(f"s3://{bucket}/2024/market.csv", config, s3_settings)
    assert (loaded.rows, loaded.source) == (400, f"s3://{bucket}/2024/market.csv")
    assert contents(s3_settings.workspace / "downloads") == {"market.csv": market}


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        ("s3://raw-data/2023/market.csv", DataError, "there is no such object in the bucket"),
        ("s3://other-data/2024/market.csv", DataError, "there is no such bucket"),
        ("s3://raw-data/2024/market.txt", ConfigError, "does not end with one of"),
        ("s3://raw-data/2024/", ConfigError, "names no object: write s3://bucket/folder/file.csv"),
        ("s3://raw-data", ConfigError, "names no object"),
        ("s3:///market.csv", ConfigError, "names no object"),
        ("s3://No_Bucket!/market.csv", DataError, "ParamValidationError"),
    ],
)
def test_an_object_that_cannot_be_had(
    bucket: str, source: str, error: type[Exception], said: str, config: DatasetConfig, s3_settings: Settings
) -> None:
    with pytest.raises(error, match=said) as caught:
        run(source, config, s3_settings)
    assert SECRET not in str(caught.value)
    assert contents(s3_settings.workspace) == {}


def test_a_dead_s3_endpoint_and_absent_credentials_are_named(
    dead_endpoint: str, config: DatasetConfig, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    isolate_aws(monkeypatch)
    there = settings.model_copy(update={"s3_endpoint_url": dead_endpoint, "aws_region": "us-east-1"})
    with pytest.raises(DataError, match=r"EndpointConnectionError\): check the network, S3_ENDPOINT_URL") as caught:
        run("s3://raw-data/market.csv", config, there)
    assert SECRET not in str(caught.value)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigError, match="no credentials: set AWS_PROFILE"):
        run("s3://raw-data/market.csv", config, there)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ConfigError, match="no credentials: set AWS_PROFILE"):
        run("s3://raw-data/market.csv", config, there)


def kagglehub(monkeypatch: pytest.MonkeyPatch, answer: Path | Exception) -> None:
    """Put a module in kagglehub's place: the real one needs the network."""

    def dataset_download(handle: str) -> str:
        assert handle == HANDLE
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    stub = types.ModuleType("kagglehub")
    stub.dataset_download = dataset_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kagglehub", stub)


def test_without_kagglehub_the_message_says_what_to_do(
    config: DatasetConfig, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(ConfigError) as caught:
        run(f"kaggle:{HANDLE}", config, settings)
    assert "`uv sync --extra kaggle`" in str(caught.value)
    assert f"https://www.kaggle.com/datasets/{HANDLE} by hand" in str(caught.value)
    assert str(settings.data_root / config.source.files[0]) in str(caught.value)


def test_offline_kaggle_says_what_to_do_by_hand(
    config: DatasetConfig, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    kagglehub(monkeypatch, ConnectionError("no route to host"))
    with pytest.raises(ConfigError, match=r"ConnectionError: no route to host.*by hand and save the file as .*HouseTS"):
        run(f"kaggle:{HANDLE}", config, settings)


def test_the_configs_own_file_is_picked_from_what_kaggle_sends(
    config: DatasetConfig, settings: Settings, market: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = tmp_path / "sent"
    kagglehub(monkeypatch, sent)
    sent.mkdir()
    (sent / "readme.txt").write_text("nothing to load")
    with pytest.raises(DataError, match="holds no CSV or Parquet file"):
        run(f"kaggle:{HANDLE}", config, settings)
    (sent / "version 2").mkdir()
    (sent / "version 2" / "HouseTS.csv").write_bytes(market)
    (sent / "a much longer one.csv").write_bytes(market * 2)
    assert sources.resolve(f"kaggle:{HANDLE}", config, settings, tmp_path) == sent / "version 2" / "HouseTS.csv"
    (sent / "version 2" / "HouseTS.csv").unlink()
    (sent / "short.csv").write_bytes(b"date\n")
    assert sources.resolve(f"kaggle:{HANDLE}", config, settings, tmp_path) == sent / "a much longer one.csv"


def test_a_simulated_market_is_loaded_and_kept(config: DatasetConfig, settings: Settings) -> None:
    loaded = run("simulate:zips=4,months=142,seed=3", config, settings)
    assert loaded.rows == 4 * 142
    (kept,) = contents(settings.workspace / "downloads")
    assert kept == "simulated-months142-seed3-zips4.csv"


@pytest.mark.parametrize(
    "arguments", ["zips=many", "zips=0", "zips=-3", "towns=4", "zips", "zips=4,zips=5", "zips=1e9"]
)
def test_nonsense_for_the_simulator_is_refused(arguments: str, config: DatasetConfig, settings: Settings) -> None:
    with pytest.raises(ConfigError, match=r"simulate:.*zips"):
        run(f"simulate:{arguments}", config, settings)
    assert contents(settings.workspace) == {}


def test_unknown_kinds_of_source_are_refused(config: DatasetConfig, settings: Settings) -> None:
    for source in ("ftp://host/market.csv", "C:\\market.csv", "market.csv", ""):
        with pytest.raises(ConfigError, match="no such file or folder"):
            run(source, config, settings)
