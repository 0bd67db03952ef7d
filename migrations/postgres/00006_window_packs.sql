-- Charges of a scope summed by window, so that reports by time need not add up charges.

-- +goose Up
-- A pack sums charges that are of one period, in seconds, by begin, whatever their metric; chunk is the begin's, see
-- store/windowpacks.go.
CREATE TABLE scope_window_packs (
    day    date NOT NULL,
    scope  int NOT NULL,
    period int NOT NULL,
    chunk  int NOT NULL,
    pack   bytea NOT NULL,
    PRIMARY KEY (day, scope, period, chunk)
) WITH (fillfactor = 45);
ALTER TABLE scope_window_packs ALTER pack SET STORAGE external;
CREATE INDEX scope_window_packs_scope ON scope_window_packs (scope, day);

-- SQL can't write packs: as long as this setting is there, the program makes those of charges that there are, and does nothing else.
INSERT INTO settings (name, value) SELECT 'window_packs_done', '0' WHERE EXISTS (SELECT 1 FROM charges);

-- A change of the billing zone that was interrupted begins anew, with the windows.
DELETE FROM settings WHERE name = 'timezone_done';

-- +goose Down
DELETE FROM settings WHERE name = 'window_packs_done';
DROP TABLE scope_window_packs;
