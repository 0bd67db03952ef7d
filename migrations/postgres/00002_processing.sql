-- Tasks: processed windows that are to be done again. Times are whole seconds UTC; amounts are exact decimals.

-- +goose Up
-- lease_* is who computes the preview of a task that is previewing; losses counts what it has found, of which task_losses has the dearest;
-- missing counts the windows that it could not compute, and because says why of the first.
CREATE TABLE tasks (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text NOT NULL,
    state       text NOT NULL,
    all_scopes  boolean NOT NULL,
    begins_at   timestamptz NOT NULL,
    ends_at     timestamptz NOT NULL,
    as_it_was   boolean NOT NULL,
    reason      text NOT NULL,
    author      text NOT NULL,
    created_at  timestamptz NOT NULL,
    finished_at timestamptz,
    error       text,
    missing     int NOT NULL DEFAULT 0,
    because     text,
    lease_token bigint,
    lease_until timestamptz,
    losses      bigint NOT NULL DEFAULT 0
);
CREATE INDEX tasks_open ON tasks (id) WHERE state IN ('previewing', 'previewed', 'running');

-- windows counts those that were marked as the task's, all that begin before marked_to; done those of them that it has done.
CREATE TABLE task_scopes (
    task      bigint NOT NULL REFERENCES tasks,
    scope     int NOT NULL REFERENCES scopes,
    windows   int NOT NULL DEFAULT 0,
    done      int NOT NULL DEFAULT 0,
    marked_to timestamptz NOT NULL,
    previewed boolean NOT NULL DEFAULT false,
    PRIMARY KEY (task, scope)
);
CREATE INDEX task_scopes_scope ON task_scopes (scope, task);

-- What a task changed so far, or, in its preview, would change.
CREATE TABLE task_differences (
    task          bigint NOT NULL REFERENCES tasks,
    preview       boolean NOT NULL,
    scope         int NOT NULL,
    metric        text NOT NULL,
    points_before bigint NOT NULL,
    points_after  bigint NOT NULL,
    amount_before numeric NOT NULL,
    amount_after  numeric NOT NULL,
    lost_points   bigint NOT NULL,
    lost_amount   numeric NOT NULL,
    PRIMARY KEY (task, preview, scope, metric)
);

-- Points that would lose their price, as the preview found them: what says which attributes they have.
CREATE TABLE task_losses (
    task   bigint NOT NULL REFERENCES tasks,
    scope  int NOT NULL,
    metric text NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    points bigint NOT NULL,
    amount numeric NOT NULL,
    PRIMARY KEY (task, scope, metric, reason, detail)
);

-- task is what a done or empty window waits for: a task, or 0 for its late re-check. recheck_at is when that is to be, also while
-- a task has the window. redone_by is the task that did it last.
ALTER TABLE windows
    ADD task             bigint,
    ADD recheck_at       timestamptz,
    ADD redone_by        bigint,
    ADD absence_accepted boolean NOT NULL DEFAULT false,
    ADD waived_by        text,
    ADD waived_for       text;
CREATE INDEX windows_again ON windows (scope, begins_at) INCLUDE (next_attempt, attempt, task) WHERE task IS NOT NULL;
CREATE INDEX windows_other ON windows (scope, begins_at) INCLUDE (state, redone_by) WHERE state IN (4, 5) OR redone_by IS NOT NULL;
CREATE INDEX windows_task ON windows (task, next_attempt) WHERE task IS NOT NULL;
CREATE INDEX windows_failing ON windows (task, begins_at, scope) WHERE task IS NOT NULL AND error IS NOT NULL;
CREATE INDEX windows_open_turn ON windows (next_attempt) WHERE state IN (0, 3);
CREATE INDEX windows_waived ON windows (scope, begins_at) WHERE state = 4;

-- Lease tokens grow whatever clocks do; they begin after those that were made of the time.
CREATE SEQUENCE lease_tokens START WITH 2305843009213693952;

-- Findings summed by UTC day.
CREATE TABLE finding_days (
    day      timestamptz NOT NULL,
    scope    int NOT NULL,
    kind     text NOT NULL,
    metric   text NOT NULL,
    detail   text NOT NULL,
    windows  int NOT NULL,
    points   bigint NOT NULL,
    first_at timestamptz NOT NULL,
    last_at  timestamptz NOT NULL,
    PRIMARY KEY (day, scope, kind, metric, detail)
) WITH (fillfactor = 50);
INSERT INTO finding_days
    SELECT date_trunc('day', begins_at, 'UTC'), scope, kind, metric, detail, count(*), sum(points), min(begins_at), max(begins_at)
    FROM findings GROUP BY 1, 2, 3, 4, 5;
CREATE INDEX finding_days_kind ON finding_days (day, kind, metric, detail, scope) INCLUDE (windows, points, first_at, last_at);
DROP TABLE unpriced_days;

-- How many series were new, by UTC day of their first window.
CREATE TABLE new_series_days (
    day    timestamptz NOT NULL,
    scope  int NOT NULL,
    metric int NOT NULL,
    series bigint NOT NULL,
    PRIMARY KEY (day, scope, metric)
) WITH (fillfactor = 50);

-- +goose Down
DROP TABLE new_series_days;
CREATE TABLE unpriced_days (
    day      timestamptz NOT NULL,
    scope    int NOT NULL,
    metric   text NOT NULL,
    points   bigint NOT NULL,
    first_at timestamptz NOT NULL,
    last_at  timestamptz NOT NULL,
    PRIMARY KEY (day, scope, metric)
) WITH (fillfactor = 50);
INSERT INTO unpriced_days SELECT day, scope, metric, sum(points), min(first_at), max(last_at) FROM finding_days WHERE kind = 'unpriced' GROUP BY 1, 2, 3;
DROP TABLE finding_days;
DROP SEQUENCE lease_tokens;
DROP INDEX windows_waived, windows_open_turn, windows_failing, windows_other, windows_task, windows_again;
ALTER TABLE windows DROP waived_for, DROP waived_by, DROP absence_accepted, DROP redone_by, DROP recheck_at, DROP task;
DROP TABLE task_losses, task_differences, task_scopes, tasks;
