"""Tests of encryption, over real handshakes."""

import os
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import trustme

from recsys.errors import ConfigError
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from serving.client import Client, Connection
from serving.health import check
from serving.settings import load_settings
from serving.tls import Certificates
from tests.serving.running import PATIENCE_SECONDS, running_server


@dataclass(frozen=True)
class Files:
    """A server's certificate and key."""

    cert: Path
    key: Path


def authority(path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(path))
    return made


def issue(ca: trustme.CA, folder: Path, name: str) -> Files:
    files = Files(folder / f"{name}.pem", folder / f"{name}.key")
    issued = ca.issue_cert("localhost", "127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(str(files.cert))
    issued.private_key_pem.write_to_path(str(files.key))
    return files


def recommends(connection: Connection) -> bool:
    with Client(connection) as client:
        return bool(client.recommend(RecommendRequest(user_id="u")).results)


def test_calls_and_probes_are_encrypted(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    files = issue(authority(ca), tmp_path, "server")
    with running_server(tmp_path, tls_cert=files.cert, tls_key=files.key) as where:
        assert recommends(Connection(where, PATIENCE_SECONDS, tls_ca=ca))
        assert check(where, "readiness", timeout_seconds=PATIENCE_SECONDS, tls_ca=ca) == "SERVING"
        with Client(where, timeout_seconds=PATIENCE_SECONDS) as plain, pytest.raises(grpc.RpcError) as caught:
            plain.recommend(RecommendRequest(user_id="u"))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_client_that_must_show_a_certificate_needs_one_of_the_right_authority(tmp_path: Path) -> None:
    ca, other_ca = tmp_path / "ca.pem", tmp_path / "other.pem"
    signer = authority(ca)
    server, ours = issue(signer, tmp_path, "server"), issue(signer, tmp_path, "ours")
    theirs = issue(authority(other_ca), tmp_path, "theirs")
    with running_server(tmp_path, tls_cert=server.cert, tls_key=server.key, tls_client_ca=ca) as where:
        assert recommends(Connection(where, PATIENCE_SECONDS, None, ca, ours.cert, ours.key))
        for connection in (
            Connection(where, PATIENCE_SECONDS, None, ca),
            Connection(where, PATIENCE_SECONDS, None, ca, theirs.cert, theirs.key),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                recommends(connection)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_renewed_certificate_is_used_and_a_broken_one_is_not(tmp_path: Path) -> None:
    old_ca, new_ca = tmp_path / "old.pem", tmp_path / "new.pem"
    files = issue(authority(old_ca), tmp_path, "server")
    with running_server(tmp_path, tls_cert=files.cert, tls_key=files.key) as where:
        assert recommends(Connection(where, PATIENCE_SECONDS, tls_ca=old_ca))
        good_key = files.key.read_bytes()
        files.key.write_text("no key")
        os.utime(files.key, (1, 1))
        assert recommends(Connection(where, PATIENCE_SECONDS, tls_ca=old_ca))
        assert good_key
        issue(authority(new_ca), tmp_path, "server")
        os.utime(files.key, (2, 2))
        assert recommends(Connection(where, PATIENCE_SECONDS, tls_ca=new_ca))


def test_files_that_do_not_fit_are_refused_at_the_start(tmp_path: Path) -> None:
    ca = authority(tmp_path / "ca.pem")
    one, two = issue(ca, tmp_path, "one"), issue(ca, tmp_path, "two")
    for cert, key in ((one.cert, two.key), (one.key, one.cert), (tmp_path / "none.pem", one.key)):
        with pytest.raises(ConfigError, match="do not load"):
            Certificates(cert, key, None)


def test_half_of_the_files_is_no_configuration() -> None:
    with pytest.raises(ConfigError, match="belong together"):
        load_settings(tls_cert=Path("cert.pem"))
    with pytest.raises(ConfigError, match="tls_client_ca needs"):
        load_settings(tls_client_ca=Path("ca.pem"))
