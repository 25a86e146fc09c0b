"""The Celery app: a messenger of bells. Rows are the truth, so no result is kept and no message
is worth redelivering."""

from __future__ import annotations

import warnings
from pathlib import Path

from celery import Celery
from celery.platforms import SecurityWarning

# Celery warns of workers run by root because pickled messages could run code; ours are JSON only.
warnings.filterwarnings("ignore", category=SecurityWarning)

RENDER_QUEUE = "render"
RENDER_TASK = "medr1.render"
ANSWER_TASK = "medr1.answer"


def answer_queue(checkpoint: str) -> str:
    """Return the queue of one checkpoint, so that a site can pin workers to it."""
    return f"answer.{checkpoint}"


def make_app(broker_url: str, data_dir: Path) -> Celery:
    """Build the app for a broker; `filesystem://` uses `DATA_DIR/broker`."""
    # kombu warns of a URL without a host, which a folder does not have.
    url = "filesystem://localhost//" if broker_url == "filesystem://" else broker_url
    app = Celery("medr1_pacs", broker=url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        # Acknowledged before it runs: a bell that is lost is rung again.
        task_acks_late=False,
        task_create_missing_queues=True,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=_transport_options(broker_url, data_dir),
    )
    return app


def _transport_options(broker_url: str, data_dir: Path) -> dict[str, object]:
    if not broker_url.startswith("filesystem"):
        return {
            "socket_keepalive": True,
            "health_check_interval": 10,
            # A broker that is silent must not hang the sweep.
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
        }
    queue, control = data_dir / "broker" / "queue", data_dir / "broker" / "control"
    for folder in (queue, control):
        folder.mkdir(parents=True, exist_ok=True)
    return {
        "data_folder_in": str(queue),
        "data_folder_out": str(queue),
        "control_folder": str(control),
        "store_processed": False,
    }
