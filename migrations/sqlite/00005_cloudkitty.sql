-- What CloudKitty's API asks for: pushed data frames, scripts, tokens, scopes that are set back. Times are whole seconds UTC.

-- +goose Up
-- A request that pushed data points. idempotency is the key that makes its repeat harmless, digest of the request's content;
-- rules_version priced it, NULL: the prices came with it. first_at and last_at are the begins of its first and last points.
CREATE TABLE pushes (
    id            integer PRIMARY KEY,
    at            timestamp NOT NULL,
    author        text NOT NULL,
    idempotency   text,
    digest        blob NOT NULL,
    frames        integer NOT NULL,
    points        integer NOT NULL,
    amount        text NOT NULL,
    rules_version integer,
    first_at      timestamp,
    last_at       timestamp,
    UNIQUE (author, idempotency)
);

-- The ledger of pushed points: how many a scope has of an interval.
CREATE TABLE pushed_frames (
    scope     integer NOT NULL,
    begins_at timestamp NOT NULL,
    period    integer NOT NULL,
    points    integer NOT NULL,
    PRIMARY KEY (scope, begins_at, period)
) WITHOUT ROWID;

-- The request that pushed a charge; NULL: it was collected, and its window says the rest. Pushed charges are of scopes of
-- the source "push", which has no windows.
ALTER TABLE charges ADD COLUMN push integer;

-- toggled_at is when the scope was last made active or inactive, NULL: never. reset_to is from when on its windows were made
-- due again, last.
ALTER TABLE scopes ADD COLUMN toggled_at timestamp;
ALTER TABLE scopes ADD COLUMN reset_to timestamp;

-- data is the script's text.
CREATE TABLE scripts (
    id            text NOT NULL,
    since_version integer NOT NULL,
    until_version integer,
    name          text NOT NULL,
    data          text NOT NULL,
    starts_at     timestamp,
    ends_at       timestamp,
    description   text NOT NULL,
    PRIMARY KEY (id, since_version)
) WITHOUT ROWID;

-- digest is the SHA-256 of the secret, which nobody has but its user.
CREATE TABLE tokens (
    id         integer PRIMARY KEY,
    name       text NOT NULL,
    digest     blob NOT NULL UNIQUE,
    role       text NOT NULL,
    created_at timestamp NOT NULL,
    created_by text NOT NULL,
    expires_at timestamp,
    revoked_at timestamp,
    used_at    timestamp
);
CREATE TABLE token_scopes (
    token integer NOT NULL REFERENCES tokens,
    scope text NOT NULL,
    PRIMARY KEY (token, scope)
) WITHOUT ROWID;

-- Whether a rule has priced anything in windows.
CREATE INDEX windows_rules ON windows (scope, rules_version) WHERE rules_version IS NOT NULL;

-- What clients say of CloudKitty's collectors, and may ask for again. Nothing depends on it.
CREATE TABLE collector_mappings (
    service   text PRIMARY KEY NOT NULL,
    collector text NOT NULL
) WITHOUT ROWID;
CREATE TABLE collector_states (
    name    text PRIMARY KEY NOT NULL,
    enabled boolean NOT NULL
) WITHOUT ROWID;

-- +goose Down
DROP INDEX windows_rules;
DROP TABLE collector_states;
DROP TABLE collector_mappings;
DROP TABLE token_scopes;
DROP TABLE tokens;
DROP TABLE scripts;
ALTER TABLE scopes DROP COLUMN reset_to;
ALTER TABLE scopes DROP COLUMN toggled_at;
ALTER TABLE charges DROP COLUMN push;
DROP TABLE pushed_frames;
DROP TABLE pushes;
