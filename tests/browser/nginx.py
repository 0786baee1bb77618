"""A real nginx that strips a path prefix, configured as its documentation shows and no more."""

from __future__ import annotations

import datetime as dt
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.cli.running import wait_until

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

_CONFIG = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port}{ssl};
    location /receiver/ {{ proxy_pass http://127.0.0.1:{upstream}/; }}
    location / {{ return 404 "another application\\n"; }}
  }}
}}
"""


class Nginx:
    """Serves `/receiver/` on *port* of loopback; with *is_secure* over TLS with a self-signed certificate."""

    def __init__(self, folder: Path, port: int, upstream: int, *, is_secure: bool) -> None:
        self._folder = folder
        self._port = port
        ssl = ""
        if is_secure:
            certificate, key = _make_certificate(folder)
            ssl = f" ssl;\n    ssl_certificate {certificate};\n    ssl_certificate_key {key}"
        self._config = folder / "nginx.conf"
        self._config.write_text(_CONFIG.format(folder=folder, port=port, upstream=upstream, ssl=ssl))

    def __enter__(self) -> Self:
        assert NGINX is not None
        log = self._folder / "error.log"
        log.touch()
        self._process = subprocess.Popen(
            [NGINX, "-p", str(self._folder), "-c", str(self._config)], stderr=subprocess.DEVNULL
        )
        wait_until(self._is_listening, log.read_text)
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)

    def _is_listening(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), 1).close()
        except OSError:
            return False
        return True


def _make_certificate(folder: Path) -> tuple[Path, Path]:
    """Return the files of a self-signed certificate and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ops.example.org")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2049, 1, 1, tzinfo=dt.UTC))
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files
