-- Superseded charges take one row a window and replacement, written in a tenth of the time that a row each takes.

-- +goose Up
-- What charges of a window were before they were replaced together; task is what replaced them, NULL for a window that was committed
-- again. charges lists them in the order of their key, points of them: [[series, seq, "qty", "price"], ...].
CREATE TABLE superseded (
    scope          int NOT NULL,
    begins_at      timestamptz NOT NULL,
    period         int NOT NULL,
    config_version bigint,
    rules_version  bigint,
    superseded_at  timestamptz NOT NULL,
    task           bigint,
    points         int NOT NULL,
    charges        json NOT NULL
);
INSERT INTO superseded
    SELECT scope, begins_at, period, config_version, rules_version, superseded_at, task, count(*),
        json_agg(json_build_array(series, seq, CAST(qty AS text), CAST(price AS text)) ORDER BY series, seq)
    FROM superseded_charges GROUP BY scope, begins_at, period, config_version, rules_version, superseded_at, task;
CREATE INDEX superseded_window ON superseded (scope, begins_at);
DROP TABLE superseded_charges;

-- The same, a row each.
CREATE VIEW superseded_charges AS
    SELECT s.scope, s.begins_at, s.period, CAST(c.value ->> 0 AS bigint) AS series, CAST(c.value ->> 1 AS smallint) AS seq,
        CAST(c.value ->> 2 AS numeric) AS qty, CAST(c.value ->> 3 AS numeric) AS price, s.config_version, s.rules_version, s.superseded_at, s.task
    FROM superseded s CROSS JOIN json_array_elements(s.charges) AS c(value);

-- +goose Down
ALTER VIEW superseded_charges RENAME TO superseded_each;
CREATE TABLE superseded_charges (
    scope          int NOT NULL,
    begins_at      timestamptz NOT NULL,
    period         int NOT NULL,
    series         bigint NOT NULL,
    seq            smallint NOT NULL,
    qty            numeric NOT NULL,
    price          numeric NOT NULL,
    config_version bigint,
    rules_version  bigint,
    superseded_at  timestamptz NOT NULL,
    task           bigint
);
INSERT INTO superseded_charges SELECT * FROM superseded_each;
CREATE INDEX superseded_charges_window ON superseded_charges (scope, begins_at);
DROP VIEW superseded_each;
DROP TABLE superseded;
