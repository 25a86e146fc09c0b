"""What `medr1-pacs doctor` asks of a worker: its broker, its packages, its device."""

from __future__ import annotations

from pathlib import Path

from medr1_pacs.checkpoints import find_missing_packages
from medr1_pacs.errors import SettingInvalid
from workers.app import make_app


def check_broker(broker_url: str, data_dir: Path) -> str:
    """Say where the broker is. Raises `SettingInvalid` where it does not answer."""
    if broker_url.startswith("filesystem"):
        return f"files in {data_dir / 'broker'}"
    try:
        with make_app(broker_url, data_dir).connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=3)
    except Exception as error:  # whatever the transport raises: each has errors of its own
        raise SettingInvalid(
            f"the broker does not answer ({error}); start it, or correct MEDR1_BROKER_URL"
        ) from error
    return "reachable"


def check_packages() -> str:
    """Name the device that answers. Raises `SettingInvalid` where a package is missing."""
    if missing := find_missing_packages():
        raise SettingInvalid(
            f"{', '.join(missing)} not installed: on a worker run `pip install "
            "'medr1-pacs[worker]'`; a host without workers does not need them"
        )
    import torch  # takes seconds, and is an extra

    return "GPU: " + torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU only"
