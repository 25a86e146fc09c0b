"""Serve the application on one port."""

from __future__ import annotations

import errno
import socket
import ssl
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from medr1_pacs.errors import SettingInvalid


def serve(
    app: FastAPI,
    host: str,
    port: int,
    *,
    certificate: Path | None = None,
    key: Path | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; by HTTPS with a certificate.

    Raises
    ------
    SettingInvalid
        The address cannot be bound, or the certificate cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise SettingInvalid(
                f"port {port} on {host} is in use by another program; stop it, or set "
                "MEDR1_WEB_PORT"
            ) from error
        raise SettingInvalid(f"cannot serve on {host}:{port}: {error.strerror}") from error
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        server_header=False,
        # By default uvicorn believes what any program on this machine forwards.
        proxy_headers=False,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        listening.close()
        raise SettingInvalid(
            f"MEDR1_WEB_CERTIFICATE={certificate} and MEDR1_WEB_KEY={key} cannot be used: {error}"
        ) from error
    uvicorn.Server(config).run(sockets=[listening])
