-- Findings summed for all scopes together, and windows that a task passes over.

-- +goose Up
-- Of one kind and metric it tells at most 100 details of a day apart; finding_days has what exceeds them as 'other values', too.
CREATE TABLE finding_sums (
    day     timestamp NOT NULL,
    kind    text NOT NULL,
    metric  text NOT NULL,
    detail  text NOT NULL,
    windows integer NOT NULL,
    points  integer NOT NULL,
    scopes  integer NOT NULL,
    PRIMARY KEY (day, kind, metric, detail)
) WITHOUT ROWID;
INSERT INTO finding_sums
    SELECT day, kind, metric, detail, 0, 0, 0 FROM (
        SELECT day, kind, metric, detail, row_number() OVER (PARTITION BY day, kind, metric ORDER BY sum(points) DESC, detail) AS turn
        FROM finding_days WHERE detail <> 'other values' GROUP BY day, kind, metric, detail
    ) n WHERE turn <= 100;
DELETE FROM finding_days;
INSERT INTO finding_days
    SELECT f.begins_at - f.begins_at % 86400, f.scope, f.kind, f.metric, coalesce(s.detail, 'other values'),
        count(DISTINCT f.begins_at), sum(f.points), min(f.begins_at), max(f.begins_at)
    FROM findings f LEFT JOIN finding_sums s
        ON s.day = f.begins_at - f.begins_at % 86400 AND s.kind = f.kind AND s.metric = f.metric AND s.detail = f.detail
    GROUP BY 1, 2, 3, 4, 5;
DELETE FROM finding_sums;
INSERT INTO finding_sums
    SELECT day, kind, metric, detail, sum(windows), sum(points), count(*) FROM finding_days GROUP BY 1, 2, 3, 4;

-- left_by is the task that failed to do the window again before an operator left it as it is.
ALTER TABLE windows ADD left_by integer;

-- +goose Down
ALTER TABLE windows DROP COLUMN left_by;
DROP TABLE finding_sums;
