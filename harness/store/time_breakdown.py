"""Why was it slow? Every second of a run, for each access method, given to what kept further calls from being in flight.

A run's seconds for a method go from its first turn's becoming ready to its last answer. At every moment some of its tries wait at the
gate (for a quota, a rest's end, or a place in the window), some are in flight, some have been answered but not yet read (as long as the
event loop was late then: `pulses`), and some episodes are between an answer and their next try: pausing before the same ask is put
again, or at work on the next one. The moment belongs

    to the quota         if a try waits for one (or under the ceiling on the wire);
    to backing off       else, if a try waits for the end of a rest;
    to the provider      else, if a try waits for a place: all are taken by calls in flight; what of these is answered but unread is ours;
    else no try waits, and each of the method's places (its `concurrency`) has its part: to the provider if a call is in flight there,
    to our own CPU if an answer lies unread or an episode is at work, to backing off if one pauses; the empty places are starved.

So the five add up to the seconds. Tries wait first for a place, then for a rest, then for a quota, as far as their rows tell. The window
starts below `concurrency` and may shrink; places that it withholds while nobody waits count as starved. What imports and stores of
version 1 do not say (quota_s, rest_s, pulses) counts as nought: there all waiting is for places, and all latency the provider's."""

from __future__ import annotations

TIME_BY_METHOD = """
    WITH tries AS (
        SELECT run_id, method, latency_s, coalesce(quota_s, 0) AS quota_s, coalesce(rest_s, 0) AS rest_s,
               sent_at - queue_s AS ready, sent_at AS sent, sent_at + latency_s AS answered,
               lead(method) OVER episode AS next_method, lead(turn) OVER episode = turn AS to_pause, lag(turn) OVER episode = turn AS paused
        FROM calls WINDOW episode AS (PARTITION BY run_id, episode_id, attempt ORDER BY turn, try_number)
    ), known AS (
        SELECT tries.*, least(coalesce(pulses.lag_s, 0), latency_s) AS late_s, CAST(coalesce(paused, false) AS INTEGER) AS was_pausing,
               CAST(NOT coalesce(paused, true) AS INTEGER) AS was_working, CAST(to_pause AS INTEGER) AS will_pause,
               CAST(NOT to_pause AS INTEGER) AS will_work
        FROM tries ASOF LEFT JOIN pulses ON tries.run_id = pulses.run_id AND tries.answered <= pulses."at"
    ), changes AS (
        SELECT run_id, method, ready AS moment, 1 AS place, 0 AS rest, 0 AS quota, 0 AS flight, 0 AS late,
               -was_pausing AS pausing, -was_working AS working
        FROM known WHERE sent > ready
        UNION ALL
        SELECT run_id, method, sent - quota_s - rest_s, -1, 1, 0, 0, 0, 0, 0 FROM known WHERE sent > ready AND rest_s > 0
        UNION ALL
        SELECT run_id, method, sent - quota_s, CASE WHEN rest_s > 0 THEN 0 ELSE -1 END, CASE WHEN rest_s > 0 THEN -1 ELSE 0 END, 1,
               0, 0, 0, 0
        FROM known WHERE sent > ready AND quota_s > 0
        UNION ALL
        SELECT run_id, method, sent, CASE WHEN sent > ready AND quota_s <= 0 AND rest_s <= 0 THEN -1 ELSE 0 END,
               CASE WHEN sent > ready AND quota_s <= 0 AND rest_s > 0 THEN -1 ELSE 0 END,
               CASE WHEN sent > ready AND quota_s > 0 THEN -1 ELSE 0 END, 1, 0,
               CASE WHEN sent > ready THEN 0 ELSE -was_pausing END, CASE WHEN sent > ready THEN 0 ELSE -was_working END
        FROM known
        UNION ALL
        SELECT run_id, method, answered - late_s, 0, 0, 0, -1, 1, 0, 0 FROM known WHERE late_s > 0
        UNION ALL
        SELECT run_id, method, answered, 0, 0, 0, CASE WHEN late_s > 0 THEN 0 ELSE -1 END, CASE WHEN late_s > 0 THEN -1 ELSE 0 END,
               CASE WHEN next_method = method THEN will_pause ELSE 0 END, CASE WHEN next_method = method THEN will_work ELSE 0 END
        FROM known
        UNION ALL
        SELECT run_id, next_method, answered, 0, 0, 0, 0, 0, will_pause, will_work FROM known WHERE next_method <> method
    ), spells AS (
        SELECT run_id, method, lead(moment) OVER so_far - moment AS seconds, sum(place) OVER so_far AS place, sum(rest) OVER so_far AS rest,
               sum(quota) OVER so_far AS quota, sum(flight) OVER so_far AS flight, sum(late) OVER so_far AS late,
               sum(pausing) OVER so_far AS pausing, sum(working) OVER so_far AS working
        FROM changes WINDOW so_far AS (PARTITION BY run_id, method ORDER BY moment ROWS UNBOUNDED PRECEDING)
    ), shared AS (
        SELECT spells.*, quota > 0 AS by_quota, quota <= 0 AND rest > 0 AS by_rest, quota <= 0 AND rest <= 0 AND place > 0 AS by_place,
               greatest(coalesce(concurrency, 1), flight + late, 1) AS places,
               least(working, places - flight - late) AS at_work, least(pausing, places - flight - late - at_work) AS at_rest
        FROM spells LEFT JOIN (SELECT run_id, method, max(concurrency) AS concurrency FROM methods GROUP BY ALL) USING (run_id, method)
        WHERE seconds > 0
    )
    SELECT run_id, method, sum(seconds) AS seconds,
           sum(CASE WHEN by_quota OR by_rest THEN 0 WHEN NOT by_place THEN seconds * flight / places
               WHEN flight + late > 0 THEN seconds * flight / (flight + late) ELSE seconds END) AS provider_s,
           sum(CASE WHEN by_quota THEN seconds ELSE 0 END) AS quota_s,
           sum(CASE WHEN by_rest THEN seconds WHEN by_quota OR by_place THEN 0 ELSE seconds * at_rest / places END) AS backing_off_s,
           sum(CASE WHEN by_quota OR by_rest THEN 0 WHEN NOT by_place THEN seconds * (late + at_work) / places
               WHEN flight + late > 0 THEN seconds * late / (flight + late) ELSE 0 END) AS own_cpu_s,
           sum(CASE WHEN by_quota OR by_rest OR by_place THEN 0
               ELSE seconds * (places - flight - late - at_work - at_rest) / places END) AS starved_s
    FROM shared GROUP BY ALL"""
