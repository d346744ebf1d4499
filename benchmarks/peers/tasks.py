"""Celery with Redis doing what a silent bot does: one task a message, acknowledged when it is done, in no order."""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery

app = Celery("benchmark", broker=os.environ.get("BENCH_REDIS_URL", "redis+socket:///nowhere"))
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=4,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)


@app.task  # type: ignore[untyped-decorator,unused-ignore]
def handle(message: dict[str, Any]) -> None:
    """Note when this message was handled, and how long after it was sent."""
    now = time.time()
    line = f"{now} {now - float(message['sent'])}\n".encode()
    file = os.open(os.environ["BENCH_ENDS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line)
    os.close(file)
