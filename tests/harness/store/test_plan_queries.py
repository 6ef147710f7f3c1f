"""Quotas that plans read from gate events."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.records import GateEvent, MethodRecord
from harness.store.file import open_to_read, open_to_write
from harness.store.plan_queries import servers
from harness.store.writer import write_batch
from tests.harness.store.test_store import CALL


@pytest.mark.parametrize(
    ("details", "quotas"),
    [
        (["quota: 3,000 requests/min (from response headers)"], {"requests": 3_000.0}),
        (["quota: 90,000 input tokens/min (from response headers)"], {"input_tokens": 90_000.0}),
        (["requests: 3e+06 a minute, by the provider's word"], {"requests": 3e6}),
        (
            [
                "quota: 60 requests/min (learned from refusals)",
                "quota: 50 requests/min (learned from refusals; it was 60)",
            ],
            {"requests": 50.0},
        ),
        (
            [
                "quota: 60 requests/min (learned from refusals)",
                "no quota on requests (they were refused for longer than a quota of one minute explains)",
            ],
            {},
        ),
        ([], {}),
    ],
)
def test_the_last_figure_of_each_quota_counts(
    details: list[str], quotas: dict[str, float], tmp_path: Path
) -> None:
    """Texts of this version and of 0.1.0 are read; a quota that was found wrong is none."""
    events = [
        GateEvent(run_id="1", gate=CALL.method, kind="quota", detail=detail, at=float(at))
        for at, detail in enumerate(details)
    ]
    method = MethodRecord(
        run_id="1",
        method=CALL.method,
        model="m",
        provider="p",
        dialect="openai_chat",
        base_url="",
        served_model="m",
        sampling_json="{}",
        constrain=False,
        concurrency=1,
        engine_json=None,
    )
    store = tmp_path / "s.duckdb"
    with open_to_write(store) as connection:
        write_batch(connection, store, [method, CALL._replace(error_class=None), *events])
    with open_to_read(store) as connection:
        (server,) = servers(connection)
    assert server.quotas == quotas
