"""TLS and mTLS for the server; certificates are read again when a client connects after they changed."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import cast

import grpc
import structlog

from sojourn_server.config import TlsConfig
from sojourn_server.errors import StartRefused

log = structlog.get_logger(__name__)


def server_credentials(config: TlsConfig) -> grpc.ServerCredentials:
    """Credentials that follow the files. With `client_ca`, clients need certificates of it. Raises StartRefused."""
    try:
        first = _read(config)
    except OSError as error:
        raise StartRefused(f"security.tls: the files cannot be used: {error}") from error
    files = _Files(config)
    fetch = cast(Callable[[], grpc.ServerCertificateConfiguration], files.changed)  # None is fine, its stubs forgot
    return grpc.dynamic_ssl_server_credentials(first, fetch, config.client_ca is not None)


class _Files:
    """Notices when a file was replaced; asked before each handshake, from any thread."""

    def __init__(self, config: TlsConfig) -> None:
        self._config = config
        self._stamps = self._look()

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """What the files hold now; None if nothing changed or they cannot be read, so that the old ones go on."""
        try:
            stamps = self._look()
            if stamps == self._stamps:
                return None
            fresh = _read(self._config)
        except OSError as error:
            log.error("certificates_unreadable", error=str(error), next_step="mend the files; the old ones go on")
            return None
        self._stamps = stamps
        log.info("certificates_read")
        return fresh

    def _look(self) -> list[int]:
        paths = (self._config.certificate, self._config.key, self._config.client_ca)
        return [path.stat().st_mtime_ns for path in paths if path is not None]


def _read(config: TlsConfig) -> grpc.ServerCertificateConfiguration:
    """Raises OSError (ssl.SSLError is one) unless they are a certificate and its key, and authorities."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(config.certificate, config.key)
    authority = None
    if config.client_ca is not None:
        context.load_verify_locations(config.client_ca)
        authority = config.client_ca.read_bytes()
    pair = (config.key.read_bytes(), config.certificate.read_bytes())
    return grpc.ssl_server_certificate_configuration([pair], authority)
