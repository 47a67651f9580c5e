"""Whatever S3 or the way to it answers is one clear error, soon, and no credential is in it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.response import StreamingBody

from src.core.config import Settings
from src.core.errors import BundleError, ConfigError, StoreError
from src.core.s3_predictions import S3Predictions
from src.core.store import Store, open_store
from tests.bundles import V1, sealed
from tests.faulty_proxy import Fault, FaultyProxy
from tests.integration.stores import SECRET, WHO, BucketPlace, isolate_aws


def _s3(endpoint: str, uri: str = "s3://prices/prefix") -> Store:
    return open_store(uri, Settings(s3_endpoint_url=endpoint, aws_region="us-east-1"), Path())


def _calls(store: Store, tmp_path: Path) -> list[Callable[[], Any]]:
    bundle = sealed(tmp_path / "bundle")
    return [
        store.datasets,
        lambda: store.versions("housets"),
        lambda: store.current("housets"),
        lambda: store.manifest("housets", V1),
        lambda: store.publish("housets", bundle),
        lambda: store.promote("housets", V1, by="ann", why="x"),
        lambda: store.rollback("housets", by="ann", why="x"),
        lambda: store.fetch("housets", V1, tmp_path / "cache"),
    ]


@contextmanager
def _answering(code: str, status: int) -> Iterator[str]:
    """Serve one S3 error to every request; like S3's, it quotes the access key."""
    body = f"<Error><Code>{code}</Code><Message>{SECRET}</Message><AWSAccessKeyId>AKIAEXAMPLE</AWSAccessKeyId></Error>"

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_PUT = do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("code", "status", "remedy"),
    [
        ("AccessDenied", 403, "s3:GetObject"),
        ("InvalidAccessKeyId", 403, "credentials are refused"),
        ("SignatureDoesNotMatch", 403, "credentials are refused"),
        ("ExpiredToken", 400, "credentials are refused"),
        ("RequestTimeTooSkewed", 403, "clock"),
        ("AuthorizationHeaderMalformed", 400, "AWS_REGION"),
        ("NoSuchBucket", 404, "no such bucket"),
        ("SomethingNew", 400, "SomethingNew"),
    ],
)
def test_refusals_say_bucket_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, status: int, remedy: str
) -> None:
    isolate_aws(monkeypatch)
    with _answering(code, status) as endpoint:
        for call in _calls(_s3(endpoint), tmp_path):
            with pytest.raises(StoreError) as caught:
                call()
            message = str(caught.value)
            assert "s3://prices/prefix/models" in message
            assert remedy in message
            assert SECRET not in message
            assert "AKIA" not in message
            assert caught.value.brief
            assert "prices" not in caught.value.brief
    assert not (tmp_path / "cache").exists()


def test_a_dead_endpoint_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    isolate_aws(monkeypatch)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        # Nothing listens there; the bind keeps others from doing so meanwhile.
        for call in (_s3(endpoint).datasets, lambda: _s3(endpoint).fetch("housets", V1, tmp_path / "cache")):
            with pytest.raises(StoreError, match=r"s3://prices/.*unreachable .*S3_ENDPOINT_URL"):
                call()
    assert not (tmp_path / "cache").exists()


def test_an_endpoint_that_hangs_up_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    isolate_aws(monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_hang_up, args=(server, 3))
        thread.start()
        with pytest.raises(StoreError, match="unreachable"):
            _s3(f"http://127.0.0.1:{server.getsockname()[1]}").current("housets")
        thread.join()


def _hang_up(server: socket.socket, times: int) -> None:
    for _ in range(times):
        server.accept()[0].close()


@pytest.mark.parametrize("kind", ["page", "noise", "cut", "refuse"])
def test_what_is_no_answer_of_s3s_is_a_clear_error(
    tmp_path: Path, s3_endpoint: str, s3_settings: Settings, kind: Any
) -> None:
    place = BucketPlace(s3_settings)
    place.open().publish("housets", sealed(tmp_path / "b"))
    place.open().promote("housets", V1, **WHO)
    with FaultyProxy(s3_endpoint) as proxy:
        store = _s3(proxy.url, place.uri)
        proxy.break_(Fault(kind))
        for call in (
            store.datasets,
            lambda: store.current("housets"),
            lambda: store.manifest("housets", V1),
            lambda: store.read("housets", V1, "config.yaml"),
            lambda: store.fetch("housets", V1, tmp_path / "cache"),
            lambda: store.promote("housets", V1, **WHO),
        ):
            with pytest.raises(StoreError, match=r"not S3|unreachable|answered 500") as caught:
                call()
            assert caught.value.brief
        for kind_of_body in ("page", "cut"):
            proxy.break_(Fault(kind_of_body, "model.ubj"))
            with pytest.raises(StoreError, match=r"not S3|unreachable"):
                store.fetch("housets", V1, tmp_path / "cache")
        proxy.heal()
        assert store.fetch("housets", V1, tmp_path / "cache").is_dir()


def test_a_body_that_is_not_read_to_its_end_is_closed(tmp_path: Path, s3_settings: Settings) -> None:
    place = BucketPlace(s3_settings)
    place.open().publish("housets", sealed(tmp_path / "b"))
    place.write(f"housets/{V1}/model.ubj", b"x" * 3_000_000)
    bodies: list[StreamingBody] = []
    fetched = place.client.get_object

    def kept(**arguments: Any) -> Any:
        answer = fetched(**arguments)
        bodies.append(answer["Body"])
        return answer

    place.client.get_object = kept
    with pytest.raises(BundleError, match="longer than"):
        place.open().fetch("housets", V1, tmp_path / "cache")
    place.client.get_object = lambda **arguments: {"Body": kept(**arguments)["Body"]}  # as of a page without an ETag
    for call in (
        lambda: place.open().fetch("housets", V1, tmp_path / "cache"),
        lambda: place.open().read("housets", V1, "config.yaml"),
        lambda: S3Predictions(place.client, place.bucket, "some/prefix/models").read(f"housets/{V1}/config.yaml"),
    ):
        with pytest.raises(StoreError, match="not S3"):
            call()
    assert len(bodies) >= 5
    assert all(body._raw_stream.closed for body in bodies)


def test_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    isolate_aws(monkeypatch)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreError, match=r"s3://prices/.*no credentials: set AWS_PROFILE"):
        _s3("http://127.0.0.1:9").current("housets")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StoreError, match="no credentials"):
        _s3("http://127.0.0.1:9").current("housets")


def test_a_bucket_that_is_not_there(s3_settings: Settings) -> None:
    with pytest.raises(StoreError, match=r"s3://no-such-bucket/models/.*no such bucket: create it"):
        open_store("s3://no-such-bucket", s3_settings, Path()).versions("housets")


def test_an_object_longer_than_its_manifest_is_not_downloaded_whole(
    tmp_path: Path, s3_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = BucketPlace(s3_settings)
    place.open().publish("housets", sealed(tmp_path / "b"))
    place.write(f"housets/{V1}/model.ubj", b"x" * 3_000_000)
    monkeypatch.setattr("src.core.s3_store.CHUNK", 1000)
    with pytest.raises(BundleError, match=r"model\.ubj is altered: longer than the 1,000 bytes"):
        place.open().fetch("housets", V1, tmp_path / "cache")


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("gs://bucket/x", "gs:// is not supported"),
        ("s3://", "not a bucket's name"),
        (f"s3://AKIAEXAMPLE:{SECRET}@bucket/x", "not a bucket's name"),
        ("s3://a b", "not a bucket's name"),
    ],
)
def test_wrong_uris_are_the_users_mistake(uri: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        open_store(uri, Settings(), Path())
    assert SECRET not in str(caught.value)


def test_a_wrong_endpoint_is_the_users_mistake_and_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    isolate_aws(monkeypatch)
    with pytest.raises(ConfigError, match="S3_ENDPOINT_URL is not a URL") as caught:
        _s3(f"key:{SECRET}@host")
    assert SECRET not in str(caught.value)


def test_where_the_store_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    isolate_aws(monkeypatch)
    on = Settings(model_store=str(tmp_path / "from setting"), s3_bucket="bucket", aws_region="us-east-1")
    bucket = Settings(s3_bucket="bucket", aws_region="us-east-1")
    assert str(open_store(str(tmp_path / "flag"), on, tmp_path / "default")) == str(tmp_path / "flag")
    assert str(open_store(None, on, tmp_path / "default")) == str(tmp_path / "from setting")
    assert str(open_store(None, bucket, tmp_path / "default")) == "s3://bucket/models"
    assert str(open_store("s3://bucket/a/b/", bucket, tmp_path)) == "s3://bucket/a/b/models"
    assert str(open_store(None, Settings(), tmp_path / "default")) == str(tmp_path / "default")
    assert str(open_store((tmp_path / "a b").as_uri(), Settings(), tmp_path)) == str(tmp_path / "a b")
    assert not list(tmp_path.iterdir()), "opening makes nothing"
