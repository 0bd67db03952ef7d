-- What CloudKitty's API asks for: pushed data frames, scripts, tokens, scopes that are set back. Times are whole seconds UTC.

-- +goose Up
-- A request that pushed data points. idempotency is the key that makes its repeat harmless, digest of the request's content;
-- rules_version priced it, NULL: the prices came with it.
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
    UNIQUE (author, idempotency)
);

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

-- +goose Down
DROP TABLE token_scopes;
DROP TABLE tokens;
DROP TABLE scripts;
ALTER TABLE scopes DROP COLUMN reset_to;
ALTER TABLE scopes DROP COLUMN toggled_at;
ALTER TABLE charges DROP COLUMN push;
DROP TABLE pushes;
