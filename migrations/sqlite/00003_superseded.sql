-- Superseded charges take one row a window and replacement, written in a tenth of the time that a row each takes.

-- +goose Up
-- What charges of a window were before they were replaced together; task is what replaced them, NULL for a window that was committed
-- again. charges lists them in the order of their key, points of them: [[series, seq, "qty", "price"], ...].
CREATE TABLE superseded (
    scope          integer NOT NULL,
    begins_at      timestamp NOT NULL,
    period         integer NOT NULL,
    config_version integer,
    rules_version  integer,
    superseded_at  timestamp NOT NULL,
    task           integer,
    points         integer NOT NULL,
    charges        text NOT NULL
);
INSERT INTO superseded
    SELECT scope, begins_at, period, config_version, rules_version, superseded_at, task, count(*), json_group_array(json_array(series, seq, qty, price))
    FROM (SELECT * FROM superseded_charges ORDER BY scope, begins_at, period, config_version, rules_version, superseded_at, task, series, seq)
    GROUP BY scope, begins_at, period, config_version, rules_version, superseded_at, task;
CREATE INDEX superseded_window ON superseded (scope, begins_at);
DROP TABLE superseded_charges;

-- The same, a row each.
CREATE VIEW superseded_charges AS
    SELECT s.scope, s.begins_at, s.period, json_extract(c.value, '$[0]') AS series, json_extract(c.value, '$[1]') AS seq,
        json_extract(c.value, '$[2]') AS qty, json_extract(c.value, '$[3]') AS price, s.config_version, s.rules_version, s.superseded_at, s.task
    FROM superseded s, json_each(s.charges) c;

-- +goose Down
CREATE TABLE superseded_each (
    scope          integer NOT NULL,
    begins_at      timestamp NOT NULL,
    period         integer NOT NULL,
    series         integer NOT NULL,
    seq            integer NOT NULL,
    qty            text NOT NULL,
    price          text NOT NULL,
    config_version integer,
    rules_version  integer,
    superseded_at  timestamp NOT NULL,
    task           integer
);
INSERT INTO superseded_each SELECT * FROM superseded_charges;
DROP VIEW superseded_charges;
DROP TABLE superseded;
ALTER TABLE superseded_each RENAME TO superseded_charges;
CREATE INDEX superseded_charges_window ON superseded_charges (scope, begins_at);
