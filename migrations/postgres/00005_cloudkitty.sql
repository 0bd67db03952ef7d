-- What CloudKitty's API asks for: pushed data frames, scripts, tokens, scopes that are set back. Times are whole seconds UTC.

-- +goose Up
-- A request that pushed data points. idempotency is the key that makes its repeat harmless, digest of the request's content;
-- rules_version priced it, NULL: the prices came with it. first_at and last_at are the begins of its first and last points.
CREATE TABLE pushes (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at            timestamptz NOT NULL,
    author        text NOT NULL,
    idempotency   text,
    digest        bytea NOT NULL,
    frames        int NOT NULL,
    points        int NOT NULL,
    amount        numeric NOT NULL,
    rules_version bigint,
    first_at      timestamptz,
    last_at       timestamptz,
    UNIQUE (author, idempotency)
);

-- The ledger of pushed points: how many a scope has of an interval.
CREATE TABLE pushed_frames (
    scope     int NOT NULL,
    begins_at timestamptz NOT NULL,
    period    int NOT NULL,
    points    int NOT NULL,
    PRIMARY KEY (scope, begins_at, period)
) WITH (fillfactor = 80);

-- The request that pushed a charge; NULL: it was collected, and its window says the rest. Pushed charges are of scopes of
-- the source "push", which has no windows.
ALTER TABLE charges ADD push bigint;

-- toggled_at is when the scope was last made active or inactive, NULL: never. reset_to is from when on its windows were made
-- due again, last.
ALTER TABLE scopes ADD toggled_at timestamptz, ADD reset_to timestamptz;

-- data is the script's text.
CREATE TABLE scripts (
    id            text NOT NULL,
    since_version bigint NOT NULL,
    until_version bigint,
    name          text NOT NULL,
    data          text NOT NULL,
    starts_at     timestamptz,
    ends_at       timestamptz,
    description   text NOT NULL,
    PRIMARY KEY (id, since_version)
);

-- digest is the SHA-256 of the secret, which nobody has but its user.
CREATE TABLE tokens (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL,
    digest     bytea NOT NULL UNIQUE,
    role       text NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    used_at    timestamptz
);
CREATE TABLE token_scopes (
    token bigint NOT NULL REFERENCES tokens,
    scope text NOT NULL,
    PRIMARY KEY (token, scope)
);

-- Whether a rule has priced anything in windows.
CREATE INDEX windows_rules ON windows (scope, rules_version) WHERE rules_version IS NOT NULL;

-- What clients say of CloudKitty's collectors, and may ask for again. Nothing depends on it.
CREATE TABLE collector_mappings (
    service   text PRIMARY KEY,
    collector text NOT NULL
);
CREATE TABLE collector_states (
    name    text PRIMARY KEY,
    enabled boolean NOT NULL
);

-- +goose Down
DROP INDEX windows_rules;
DROP TABLE collector_states;
DROP TABLE collector_mappings;
DROP TABLE token_scopes, tokens, scripts;
ALTER TABLE scopes DROP reset_to, DROP toggled_at;
ALTER TABLE charges DROP push;
DROP TABLE pushed_frames, pushes;
