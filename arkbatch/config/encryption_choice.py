"""Decides whether a job is encrypted, and with which certificate.

Encryption that is asked for and not possible is refused before a run begins: when the library is missing, a
certificate cannot be read, or a flavour or certificate is named although nothing is encrypted. `config.server_fit`
refuses it where the server is not Ark. `transport.encrypting` ensures that nothing is sent in clear afterwards.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from arkbatch.config.job_file import Typed, job_file_error
from arkbatch.config.server_choice import CERTIFICATE_PATH, CONFIDENTIAL, FLAVOUR, Server
from arkbatch.core.errors import UsageError


def with_flavour(typed: Typed, server: Server) -> Typed:
    """Return the job with its flavour of encryption, once encryption is known to be possible."""
    if typed.file.encrypt:
        importlib.import_module(
            "arkbatch.transport.encrypting"
        )  # raises an error that says what to install, before a run begins
    elif server.confidential:
        # The SDK sends such calls in clear, for there too the variable chooses only how calls are encrypted that are.
        raise UsageError(
            f"{FLAVOUR} = {CONFIDENTIAL} is set, and the job is not encrypted: "
            "say encrypt = true (--encrypt), or unset the variable for this job"
        )
    confidential = typed.file.confidential or server.confidential
    return typed._replace(file=msgspec.structs.replace(typed.file, confidential=confidential))


def certificate_text(typed: Typed, server: Server, given: Mapping[str, Any], cwd: Path, kept: str = "") -> str:
    """Return the certificate's text, "" to ask the service for one.

    kept: the certificate that the run has used so far
    """
    flag, file = given.get("certificate"), typed.file.certificate
    if not typed.file.encrypt:
        if flag is not None:
            raise UsageError(f"--certificate {flag} is for encryption: give --encrypt as well")
        if file:
            raise job_file_error(typed.label, f'certificate = "{file}" is for encryption: write encrypt = true as well')
        return ""
    if flag is not None:
        return _read_certificate(f"--certificate {flag}", cwd / flag)
    if kept:
        return kept
    if server.certificate:
        return _read_certificate(f"{CERTIFICATE_PATH} = {server.certificate}", cwd / server.certificate)
    return _read_certificate(f"{typed.label}: certificate {file}", (typed.folder or cwd) / file) if file else ""


def _read_certificate(name: str, path: Path) -> str:
    """Read a certificate file; an empty one is refused."""
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise UsageError(f"{name} holds no certificate: it is a text that begins with -----BEGIN CERTIFICATE-----")
    return text
