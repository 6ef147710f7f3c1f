"""Rows of the store that a load test writes; see records.py."""

from __future__ import annotations

from typing import NamedTuple


class BenchRun(NamedTuple):
    """One access method in one run of `lightbulb bench`: all that says what was measured.

    label         the user's word for the run
    request_json  the request without the prompt
    engine_json   facts of an engine that the run started; of another server what it says of itself
                  (reported_version, reported_by, reported_server)
    profile_json  arrivals, bounds, windows, prompts, lengths and objectives
    host_json     this machine: name, system, processors, memory, Python"""

    run_id: str
    method: str
    model: str
    provider: str
    dialect: str
    base_url: str
    served_model: str
    sampling_json: str
    request_json: str | None
    engine_json: str | None
    quantisation: str | None
    sweep: str
    spec_json: str
    profile_json: str
    host_json: str
    version: str
    label: str | None
    started_at: float


class BenchStage(NamedTuple):
    """One stage of `lightbulb bench`: the offered load, and the client's own cost.

    loop      "closed": level is the number of calls in flight; "open": level is the number of requests per
              second; "trace": how many times as fast as recorded
    refused   the reason why the client limited the figures, which are then not printed; None if they are
              valid
    at        end of the stage;  began_at  its start
    repeat    number of the repeat of this level
    offered_s seconds until the last request was begun
    window_from_s, window_to_s   the part that has figures; steady: the latencies do not drift in it
    figures_json   the stage as `bench --json` prints it"""

    run_id: str
    stage: int
    method: str
    loop: str
    level: float
    requests: int
    wall_s: float
    cpu_share: float
    lag_s: float
    lag_s_max: float
    refused: str | None
    at: float
    began_at: float | None = None
    repeat: int | None = None
    offered_s: float | None = None
    cpu_s: float | None = None
    window_from_s: float | None = None
    window_to_s: float | None = None
    steady: bool | None = None
    figures_json: str | None = None


class BenchRequest(NamedTuple):
    """One request of a stage. Times are seconds since the stage began.

    due_s     the scheduled time
    first_s   the first chunk with text
    session, turn   of a whole game"""

    run_id: str
    stage: int
    method: str
    due_s: float
    sent_s: float
    first_s: float | None
    done_s: float
    prompt_tokens: int | None
    completion_tokens: int | None
    gap_s_median: float | None
    error_class: str | None
    cached_tokens: int | None = None
    session: int | None = None
    turn: int | None = None
