-- Tasks: processed windows that are to be done again. Times are Unix seconds; amounts are exact decimals as text.

-- +goose Up
-- lease_* is who computes the preview of a task that is previewing; losses counts what it has found, of which task_losses has the dearest;
-- missing counts the windows that it could not compute, and because says why of the first.
CREATE TABLE tasks (
    id          integer PRIMARY KEY AUTOINCREMENT,
    kind        text NOT NULL,
    state       text NOT NULL,
    all_scopes  boolean NOT NULL,
    begins_at   timestamp NOT NULL,
    ends_at     timestamp NOT NULL,
    as_it_was   boolean NOT NULL,
    reason      text NOT NULL,
    author      text NOT NULL,
    created_at  timestamp NOT NULL,
    finished_at timestamp,
    error       text,
    missing     integer NOT NULL DEFAULT 0,
    because     text,
    lease_token integer,
    lease_until timestamp,
    losses      integer NOT NULL DEFAULT 0
);
CREATE INDEX tasks_open ON tasks (id) WHERE state IN ('previewing', 'previewed', 'running');

-- windows counts those that were marked as the task's, all that begin before marked_to; done those of them that it has done.
CREATE TABLE task_scopes (
    task      integer NOT NULL REFERENCES tasks,
    scope     integer NOT NULL REFERENCES scopes,
    windows   integer NOT NULL DEFAULT 0,
    done      integer NOT NULL DEFAULT 0,
    marked_to timestamp NOT NULL,
    previewed boolean NOT NULL DEFAULT false,
    PRIMARY KEY (task, scope)
) WITHOUT ROWID;
CREATE INDEX task_scopes_scope ON task_scopes (scope, task);

-- What a task changed so far, or, in its preview, would change.
CREATE TABLE task_differences (
    task          integer NOT NULL REFERENCES tasks,
    preview       boolean NOT NULL,
    scope         integer NOT NULL,
    metric        text NOT NULL,
    points_before integer NOT NULL,
    points_after  integer NOT NULL,
    amount_before text NOT NULL,
    amount_after  text NOT NULL,
    lost_points   integer NOT NULL,
    lost_amount   text NOT NULL,
    PRIMARY KEY (task, preview, scope, metric)
) WITHOUT ROWID;

-- Points that would lose their price, as the preview found them: what says which attributes they have.
CREATE TABLE task_losses (
    task   integer NOT NULL REFERENCES tasks,
    scope  integer NOT NULL,
    metric text NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    points integer NOT NULL,
    amount text NOT NULL,
    PRIMARY KEY (task, scope, metric, reason, detail)
) WITHOUT ROWID;

-- task is what a done or empty window waits for: a task, or 0 for its late re-check. recheck_at is when that is to be, also while
-- a task has the window. redone_by is the task that did it last.
ALTER TABLE windows ADD task integer;
ALTER TABLE windows ADD recheck_at timestamp;
ALTER TABLE windows ADD redone_by integer;
ALTER TABLE windows ADD absence_accepted boolean NOT NULL DEFAULT false;
ALTER TABLE windows ADD waived_by text;
ALTER TABLE windows ADD waived_for text;
CREATE INDEX windows_again ON windows (scope, begins_at, next_attempt, attempt, task) WHERE task IS NOT NULL;
CREATE INDEX windows_other ON windows (scope, begins_at, state, redone_by) WHERE state IN (4, 5) OR redone_by IS NOT NULL;
CREATE INDEX windows_task ON windows (task, next_attempt) WHERE task IS NOT NULL;
CREATE INDEX windows_failing ON windows (task, begins_at, scope) WHERE task IS NOT NULL AND error IS NOT NULL;
CREATE INDEX windows_open_turn ON windows (next_attempt) WHERE state IN (0, 3);
CREATE INDEX windows_waived ON windows (scope, begins_at) WHERE state = 4;

-- Lease tokens grow whatever clocks do; they begin after those that were made of the time.
CREATE TABLE lease_tokens (last integer NOT NULL);
INSERT INTO lease_tokens VALUES (2305843009213693951);

-- Findings summed by UTC day.
CREATE TABLE finding_days (
    day      timestamp NOT NULL,
    scope    integer NOT NULL,
    kind     text NOT NULL,
    metric   text NOT NULL,
    detail   text NOT NULL,
    windows  integer NOT NULL,
    points   integer NOT NULL,
    first_at timestamp NOT NULL,
    last_at  timestamp NOT NULL,
    PRIMARY KEY (day, scope, kind, metric, detail)
) WITHOUT ROWID;
INSERT INTO finding_days
    SELECT begins_at - begins_at % 86400, scope, kind, metric, detail, count(*), sum(points), min(begins_at), max(begins_at)
    FROM findings GROUP BY 1, 2, 3, 4, 5;
CREATE INDEX finding_days_kind ON finding_days (day, kind, metric, detail, scope, windows, points, first_at, last_at);
DROP TABLE unpriced_days;

-- How many series were new, by UTC day of their first window.
CREATE TABLE new_series_days (
    day    timestamp NOT NULL,
    scope  integer NOT NULL,
    metric integer NOT NULL,
    series integer NOT NULL,
    PRIMARY KEY (day, scope, metric)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE new_series_days;
CREATE TABLE unpriced_days (
    day      timestamp NOT NULL,
    scope    integer NOT NULL,
    metric   text NOT NULL,
    points   integer NOT NULL,
    first_at timestamp NOT NULL,
    last_at  timestamp NOT NULL,
    PRIMARY KEY (day, scope, metric)
) WITHOUT ROWID;
INSERT INTO unpriced_days SELECT day, scope, metric, sum(points), min(first_at), max(last_at) FROM finding_days WHERE kind = 'unpriced' GROUP BY 1, 2, 3;
DROP TABLE finding_days;
DROP TABLE lease_tokens;
DROP INDEX windows_waived;
DROP INDEX windows_open_turn;
DROP INDEX windows_failing;
DROP INDEX windows_other;
DROP INDEX windows_task;
DROP INDEX windows_again;
ALTER TABLE windows DROP COLUMN waived_for;
ALTER TABLE windows DROP COLUMN waived_by;
ALTER TABLE windows DROP COLUMN absence_accepted;
ALTER TABLE windows DROP COLUMN redone_by;
ALTER TABLE windows DROP COLUMN recheck_at;
ALTER TABLE windows DROP COLUMN task;
DROP TABLE task_losses;
DROP TABLE task_differences;
DROP TABLE task_scopes;
DROP TABLE tasks;
