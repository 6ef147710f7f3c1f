"""Defines the view time_by_method: the cause that limited the calls in flight, for every second of a run.

The seconds of a method last from its first ready turn to its last reply. At every moment some of its tries
wait at the gate (for a quota, for the end of a pause, or for a place in the window), some are in flight, some
have a reply that is not read yet (during the event loop delay of that time: `pulses`), and some episodes are
between a reply and their next try: they pause before a retry, or compute the next ask. The moment counts for

    the quota      if a try waits for one, or for the rate limiter of the host;
    backing off    otherwise, if a try waits for the end of a pause;
    the provider   otherwise, if a try waits for a place: calls in flight take all places; calls with an
                   unread reply count for our own CPU;
    otherwise no try waits, and each of the method's places (its `concurrency`) counts separately: for the
    provider if it has a call in flight, for our own CPU if it has an unread reply or an episode that
    computes, for backing off if it has an episode that pauses; empty places count as starved.

At the end of a run, turns may still wait for a pause that the gate's last event of kind `rest` announced: the
seconds from the last reply to the end of that pause, of the run or of the gate count for backing off, too.
Calls in flight may have no answer when a run ends: if an event of kind `stuck` named their method after its
last reply, the seconds that are left of the run count for the provider.

So the five parts add up to the seconds. Two further columns look at the provider's part and at the end of the
run: at_limit_s are the seconds of waiting for a place while as many calls were in flight as `concurrency`
allows; tail_s are the last seconds of a run, with TAIL_TURNS turns or fewer at any moment, and tail_calls the
calls that were answered in them. A try waits first for a place, then for a pause, then for a quota, as
far as its row shows. The window starts below `concurrency` and may shrink; its closed places count as starved
while no try waits. Imports and stores of version 1 lack quota_s, rest_s and pulses, which count as 0: then
all waits are for places, and all latency is the provider's."""

from __future__ import annotations

TAIL_TURNS = 2

TIME_BY_METHOD = f"""
    WITH tries AS (
        SELECT run_id, method, latency_s, coalesce(quota_s, 0) AS quota_s, coalesce(rest_s, 0) AS rest_s,
               sent_at - queue_s AS ready, sent_at AS sent, sent_at + latency_s AS answered,
               lead(method) OVER episode AS next_method, lead(turn) OVER episode = turn AS to_pause,
                   lag(turn) OVER episode = turn AS paused
        FROM calls WINDOW episode AS (PARTITION BY run_id, episode_id, attempt ORDER BY turn, try_number)
    ), known AS (
        SELECT tries.*, least(coalesce(pulses.lag_s, 0), latency_s) AS late_s,
               CAST(coalesce(paused, false) AS INTEGER) AS was_pausing,
               CAST(NOT coalesce(paused, true) AS INTEGER) AS was_working,
                   CAST(to_pause AS INTEGER) AS will_pause,
               CAST(NOT to_pause AS INTEGER) AS will_work
        FROM tries ASOF LEFT JOIN pulses ON tries.run_id = pulses.run_id AND tries.answered <= pulses."at"
    ), changes AS (
        SELECT run_id, method, ready AS moment, 1 AS place, 0 AS rest, 0 AS quota, 0 AS flight, 0 AS late,
               -was_pausing AS pausing, -was_working AS working
        FROM known WHERE sent > ready
        UNION ALL
        SELECT run_id, method, sent - quota_s - rest_s, -1, 1, 0, 0, 0, 0, 0 FROM known
            WHERE sent > ready AND rest_s > 0
        UNION ALL
        SELECT run_id, method, sent - quota_s, CASE WHEN rest_s > 0 THEN 0 ELSE -1 END,
               CASE WHEN rest_s > 0 THEN -1 ELSE 0 END, 1,
               0, 0, 0, 0
        FROM known WHERE sent > ready AND quota_s > 0
        UNION ALL
        SELECT run_id, method, sent,
               CASE WHEN sent > ready AND quota_s <= 0 AND rest_s <= 0 THEN -1 ELSE 0 END,
               CASE WHEN sent > ready AND quota_s <= 0 AND rest_s > 0 THEN -1 ELSE 0 END,
               CASE WHEN sent > ready AND quota_s > 0 THEN -1 ELSE 0 END, 1, 0,
               CASE WHEN sent > ready THEN 0 ELSE -was_pausing END,
               CASE WHEN sent > ready THEN 0 ELSE -was_working END
        FROM known
        UNION ALL
        SELECT run_id, method, answered - late_s, 0, 0, 0, -1, 1, 0, 0 FROM known WHERE late_s > 0
        UNION ALL
        SELECT run_id, method, answered, 0, 0, 0,
               CASE WHEN late_s > 0 THEN 0 ELSE -1 END, CASE WHEN late_s > 0 THEN -1 ELSE 0 END,
               CASE WHEN next_method = method THEN will_pause ELSE 0 END,
               CASE WHEN next_method = method THEN will_work ELSE 0 END
        FROM known
        UNION ALL
        SELECT run_id, next_method, answered, 0, 0, 0, 0, 0, will_pause, will_work FROM known
            WHERE next_method <> method
    ), spells AS (
        SELECT run_id, method, moment, lead(moment) OVER so_far - moment AS seconds,
               sum(place) OVER so_far AS place, sum(rest) OVER so_far AS rest,
               sum(quota) OVER so_far AS quota, sum(flight) OVER so_far AS flight,
               sum(late) OVER so_far AS late,
               sum(pausing) OVER so_far AS pausing, sum(working) OVER so_far AS working
        FROM changes WINDOW so_far AS (PARTITION BY run_id, method ORDER BY moment ROWS UNBOUNDED PRECEDING)
    ), shared AS (
        SELECT spells.*, concurrency, quota > 0 AS by_quota, quota <= 0 AND rest > 0 AS by_rest,
               quota <= 0 AND rest <= 0 AND place > 0 AS by_place,
               greatest(coalesce(concurrency, 1), flight + late, 1) AS places,
               least(working, places - flight - late) AS at_work,
               least(pausing, places - flight - late - at_work) AS at_rest
        FROM spells LEFT JOIN (SELECT run_id, method, max(concurrency) AS concurrency FROM methods
            GROUP BY ALL) USING (run_id, method)
        WHERE seconds > 0
    ), last_replies AS (
        SELECT run_id, method, max(answered) AS last_at FROM known GROUP BY ALL
    ), pauses AS (
        SELECT run_id, method, max(CASE WHEN kind = 'closed' THEN NULL ELSE gate_events."at"
                   + CAST(regexp_extract(detail, '([0-9]+[.]?[0-9]*) s', 1) AS DOUBLE) END) AS paused_until,
               min(CASE WHEN kind = 'closed' THEN gate_events."at" END) AS closed_at
        FROM gate_events JOIN (SELECT DISTINCT run_id, method, coalesce(gate, method) AS gate FROM methods)
            USING (run_id, gate)
        WHERE kind = 'closed' OR (kind = 'rest' AND regexp_matches(detail, '[0-9] s')) GROUP BY ALL
    ), unanswered AS (
        SELECT run_id, method, max("at") AS named_at
        FROM gate_events JOIN (SELECT DISTINCT run_id, method FROM methods) USING (run_id)
        WHERE kind = 'stuck' AND starts_with(detail, method || ': no answer to any') GROUP BY ALL
    ), still_waiting AS (
        SELECT run_id, method, ended_at - last_at AS left_s, named_at > last_at AS unanswered,
               CASE WHEN paused_until IS NULL THEN 0
               ELSE greatest(0, least(paused_until, ended_at, closed_at) - last_at) END AS waiting_s
        FROM last_replies LEFT JOIN pauses USING (run_id, method) LEFT JOIN unanswered USING (run_id, method)
            JOIN (SELECT run_id, max("at") AS ended_at FROM pulses GROUP BY ALL) USING (run_id)
    ), at_the_end AS (
        SELECT run_id, method, waiting_s,
               CASE WHEN unanswered THEN greatest(0, left_s - waiting_s) ELSE 0 END AS unanswered_s
        FROM still_waiting
    ), tails AS (
        SELECT run_id, method, max(moment + seconds) AS tail_from FROM spells
        WHERE seconds > 0 AND place + rest + quota + flight + late + pausing + working > {TAIL_TURNS}
        GROUP BY ALL
    ), endings AS (
        SELECT run_id, method, any_value(last_at) - any_value(tail_from) AS tail_s,
               count(*) FILTER (answered > tail_from + 1e-6) AS tail_calls
        FROM tails JOIN last_replies USING (run_id, method) JOIN known USING (run_id, method) GROUP BY ALL
    ), parts AS (
    SELECT run_id, method, sum(seconds) AS seconds,
           sum(CASE WHEN by_quota OR by_rest THEN 0 WHEN NOT by_place THEN seconds * flight / places
               WHEN flight + late > 0 THEN seconds * flight / (flight + late) ELSE seconds END) AS provider_s,
           sum(CASE WHEN by_quota THEN seconds ELSE 0 END) AS quota_s,
           sum(CASE WHEN by_rest THEN seconds WHEN by_quota OR by_place THEN 0
               ELSE seconds * at_rest / places END) AS backing_off_s,
           sum(CASE WHEN by_quota OR by_rest THEN 0 WHEN NOT by_place THEN seconds * (late + at_work) / places
               WHEN flight + late > 0 THEN seconds * late / (flight + late) ELSE 0 END) AS own_cpu_s,
           sum(CASE WHEN by_quota OR by_rest OR by_place THEN 0
               ELSE seconds * (places - flight - late - at_work - at_rest) / places END) AS starved_s,
           sum(CASE WHEN by_place AND flight + late >= concurrency THEN seconds ELSE 0 END) AS at_limit_s
    FROM shared GROUP BY ALL
    )
    SELECT run_id, method, seconds + coalesce(waiting_s + unanswered_s, 0) AS seconds,
           provider_s + coalesce(unanswered_s, 0) AS provider_s, quota_s,
           backing_off_s + coalesce(waiting_s, 0) AS backing_off_s, own_cpu_s, starved_s, at_limit_s,
           coalesce(tail_s, 0) AS tail_s, coalesce(tail_calls, 0) AS tail_calls
    FROM parts LEFT JOIN at_the_end USING (run_id, method) LEFT JOIN endings USING (run_id, method)"""
