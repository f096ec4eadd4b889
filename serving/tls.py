"""The server's side of TLS: certificates from files, read again when the files change."""

import ssl
from pathlib import Path

import grpc
import structlog

from recsys.errors import ConfigError

_log = structlog.get_logger(__name__)


class Certificates:
    """The files of one server's identity, and the authorities that it asks of its clients."""

    def __init__(self, cert: Path, key: Path, client_ca: Path | None) -> None:
        """Read the files.

        Args:
            cert: PEM file, the server's certificate first.
            key: PEM file with its private key, not encrypted.
            client_ca: PEM file with authorities; clients must then show a certificate of theirs.

        Raises:
            ConfigError: A file cannot be read, or certificate and key do not belong together.
        """
        self._files = (cert, key) if client_ca is None else (cert, key, client_ca)
        self._seen = self._modified()
        self._initial = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """What a port is bound with; gRPC asks for changes before every handshake."""
        credentials: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
            self._initial,
            self.changed,  # type: ignore[arg-type]  # the stubs do not know that None means no change
            require_client_authentication=len(self._files) == 3,
        )
        return credentials

    def changed(self) -> "grpc.ServerCertificateConfiguration | None":
        """The new certificates when the files changed and are good, else ``None``: the old ones stay."""
        modified = self._modified()
        if modified == self._seen:
            return None
        self._seen = modified
        try:
            read = self._read()
        except ConfigError as error:
            _log.error("the certificates that were there before stay in use", reason=str(error))
            return None
        _log.info("certificates were read again")
        return read

    def _read(self) -> "grpc.ServerCertificateConfiguration":
        cert, key, *authorities = self._files
        try:
            checked = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            checked.load_cert_chain(cert, key, password="")  # never asks a terminal for one
            for path in authorities:
                checked.load_verify_locations(path)
            roots = authorities[0].read_bytes() if authorities else None
            pair = (key.read_bytes(), cert.read_bytes())
        except (OSError, ValueError) as error:  # an ssl.SSLError is an OSError
            names = ", ".join(map(str, self._files))
            raise ConfigError(
                f"the TLS files {names} do not load: {error}; "
                "expected PEM files, and the key that belongs to the certificate"
            ) from error
        return grpc.ssl_server_certificate_configuration([pair], roots)

    def _modified(self) -> tuple[int, ...]:
        try:
            return tuple(path.stat().st_mtime_ns for path in self._files)
        except OSError:
            return ()  # in the middle of being replaced
