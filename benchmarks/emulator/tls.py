"""A certificate of the emulator's own, for clients that insist on https and wss."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import Final

_NAMES: Final = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"
_MAKE_S: Final = 20.0


def make_certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context, and the self-signed certificate that clients must trust (PEM).

    It is valid for two days and for loopback alone. The key is deleted once it is loaded.

    Raises:
        RuntimeError: there is no `openssl` command, or it failed.
    """
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = (
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", _NAMES),
        *("-keyout", str(key), "-out", str(certificate)),
    )
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_MAKE_S)
    except FileNotFoundError:
        raise RuntimeError("--tls needs the openssl command") from None
    except subprocess.SubprocessError as error:
        raise RuntimeError(f"openssl made no certificate: {error}") from error
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    key.unlink()
    return context, certificate
