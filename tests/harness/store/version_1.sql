-- A store as version 1 made it: its tables and views, an episode of two calls, and a failed one.
CREATE TABLE store (version BIGINT NOT NULL);
INSERT INTO store VALUES (1);
CREATE TABLE sweeps ("run_id" VARCHAR NOT NULL, "name" VARCHAR NOT NULL, "spec_json" VARCHAR NOT NULL, "spec_hash" VARCHAR NOT NULL,
    "seed" BIGINT NOT NULL, "version" VARCHAR NOT NULL, "started_at" DOUBLE NOT NULL);
CREATE TABLE models ("run_id" VARCHAR NOT NULL, "model" VARCHAR NOT NULL, "parameters" DOUBLE);
CREATE TABLE methods ("run_id" VARCHAR NOT NULL, "method" VARCHAR NOT NULL, "model" VARCHAR NOT NULL, "provider" VARCHAR NOT NULL,
    "dialect" VARCHAR NOT NULL, "base_url" VARCHAR NOT NULL, "served_model" VARCHAR NOT NULL, "sampling_json" VARCHAR NOT NULL,
    "constrain" BOOLEAN NOT NULL, "concurrency" BIGINT NOT NULL, "engine_json" VARCHAR);
CREATE TABLE episodes ("episode_id" VARCHAR NOT NULL, "attempt" BIGINT NOT NULL, "run_id" VARCHAR NOT NULL, "key" VARCHAR NOT NULL,
    "game" VARCHAR NOT NULL, "rules" VARCHAR NOT NULL, "instance_set" VARCHAR NOT NULL, "experiment" VARCHAR NOT NULL,
    "instance" VARCHAR NOT NULL, "content_hash" VARCHAR NOT NULL, "method" VARCHAR NOT NULL, "model" VARCHAR NOT NULL,
    "seating" VARCHAR NOT NULL, "arm" VARCHAR NOT NULL, "batch" BIGINT NOT NULL, "repeat" BIGINT NOT NULL, "status" VARCHAR NOT NULL,
    "outcome" VARCHAR, "score" DOUBLE, "reason" VARCHAR NOT NULL, "requests" BIGINT NOT NULL, "parsed" BIGINT NOT NULL,
    "violated" BIGINT NOT NULL, "metrics_json" VARCHAR NOT NULL, "turns" BIGINT NOT NULL, "started_at" DOUBLE NOT NULL,
    "finished_at" DOUBLE NOT NULL);
CREATE TABLE turns ("episode_id" VARCHAR NOT NULL, "attempt" BIGINT NOT NULL, "turn" BIGINT NOT NULL, "seat" VARCHAR NOT NULL,
    "method" VARCHAR NOT NULL, "ask_hash" VARCHAR NOT NULL, "history_kept" BIGINT NOT NULL, "added_json" VARCHAR NOT NULL,
    "violation" VARCHAR);
CREATE TABLE calls ("episode_id" VARCHAR NOT NULL, "attempt" BIGINT NOT NULL, "turn" BIGINT NOT NULL, "try_number" BIGINT NOT NULL,
    "run_id" VARCHAR NOT NULL, "method" VARCHAR NOT NULL, "ask_hash" VARCHAR NOT NULL, "reply" VARCHAR, "finish_reason" VARCHAR,
    "prompt_tokens" BIGINT, "completion_tokens" BIGINT, "served_model" VARCHAR, "request_id" VARCHAR, "http_status" BIGINT,
    "error_class" VARCHAR, "error_text" VARCHAR, "queue_s" DOUBLE NOT NULL, "latency_s" DOUBLE NOT NULL, "sent_at" DOUBLE NOT NULL);
CREATE TABLE summaries ("run_id" VARCHAR NOT NULL, "method" VARCHAR NOT NULL, "model" VARCHAR NOT NULL, "game" VARCHAR NOT NULL,
    "played" DOUBLE NOT NULL, "quality" DOUBLE, "quality_std" DOUBLE);
CREATE TABLE gate_events ("run_id" VARCHAR NOT NULL, "gate" VARCHAR NOT NULL, "kind" VARCHAR NOT NULL, "detail" VARCHAR NOT NULL,
    "at" DOUBLE NOT NULL);
CREATE VIEW last_episodes AS
    SELECT * FROM episodes WHERE status <> 'abandoned' QUALIFY attempt = max(attempt) OVER (PARTITION BY episode_id);
CREATE VIEW scores AS
    SELECT model, method, game, experiment, instance, repeat, arm, episode_id, outcome, reason, score,
           outcome IN ('success', 'lost') AS played,
           turns, make_timestamp(CAST(started_at * 1e6 AS BIGINT)) AS started_utc, finished_at - started_at AS seconds
    FROM last_episodes WHERE status = 'finished';
CREATE VIEW calls_by_method AS
    SELECT method, count(*) AS calls, count(error_class) AS errors,
           sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens,
           median(latency_s) AS latency_s_median, quantile_cont(latency_s, 0.95) AS latency_s_p95, avg(queue_s) AS queue_s_mean
    FROM calls GROUP BY method;
CREATE VIEW transcripts AS
    SELECT turns.episode_id, turns.attempt, turns.turn, seat, turns.method, history_kept, added_json, reply, violation,
           finish_reason, prompt_tokens, completion_tokens, latency_s, turns.ask_hash
    FROM turns JOIN calls ON calls.episode_id = turns.episode_id AND calls.attempt = turns.attempt AND calls.turn = turns.turn
                          AND calls.error_class IS NULL;
INSERT INTO methods VALUES ('0001', 'm/a', 'm', 'bots', 'openai_chat', '', 'm', '{}', false, 4, NULL);
INSERT INTO episodes VALUES ('e1', 0, '0001', 'k1', 'taboo', 'v1.6b', 's', 'x', '1', 'c', 'm/a', 'm', 'm/a+m/a', 'main', 0, 0,
    'finished', 'success', 100.0, 'guessed', 2, 2, 0, '{}', 2, 1.0, 2.0);
INSERT INTO episodes VALUES ('e2', 0, '0001', 'k2', 'taboo', 'v1.6b', 's', 'x', '2', 'd', 'm/a', 'm', 'm/a+m/a', 'main', 0, 0,
    'failed', NULL, NULL, 'Unavailable: gone', 0, 0, 0, '{}', 0, 1.0, 2.0);
INSERT INTO turns VALUES ('e1', 0, 0, 'describer', 'm/a', 'h0', 0, '[]', NULL), ('e1', 0, 1, 'guesser', 'm/a', 'h1', 0, '[]', NULL);
INSERT INTO calls VALUES
    ('e1', 0, 0, 0, '0001', 'm/a', 'h0', 'CLUE: one', 'stop', 10, 3, 'm', NULL, 200, NULL, NULL, 0.0, 0.5, 1.0),
    ('e1', 0, 1, 0, '0001', 'm/a', 'h1', 'GUESS: two', 'stop', 12, 3, 'm', NULL, 200, NULL, NULL, 0.0, 0.5, 1.5);
