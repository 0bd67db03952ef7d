-- Times are Unix seconds. Amounts and quantities are exact decimals as TEXT: SQLite's own numbers would lose digits. Days
-- and months are those of the billing zone, as YYYY-MM-DD.

-- +goose Up
CREATE TABLE settings (
    name  text PRIMARY KEY,
    value text NOT NULL
);

CREATE TABLE users (
    id            integer PRIMARY KEY AUTOINCREMENT,
    login         text NOT NULL UNIQUE,
    role          text NOT NULL,
    password_hash text NOT NULL,
    created_at    timestamp NOT NULL,
    disabled_at   timestamp,
    credentials   integer NOT NULL DEFAULT 1
);

-- What a tenant may read: ids of scopes, also of those that are yet to be found.
CREATE TABLE user_scopes (
    user_id integer NOT NULL REFERENCES users,
    scope   text NOT NULL,
    PRIMARY KEY (user_id, scope)
) WITHOUT ROWID;

-- token is a digest of what the browser has.
CREATE TABLE sessions (
    token      text PRIMARY KEY,
    data       blob NOT NULL,
    expires_at timestamp NOT NULL
);
CREATE INDEX sessions_expiry ON sessions (expires_at);

-- Everything an operator changes.
CREATE TABLE audit_log (
    id      integer PRIMARY KEY AUTOINCREMENT,
    at      timestamp NOT NULL,
    actor   text NOT NULL,
    action  text NOT NULL,
    subject text NOT NULL,
    before  text,
    after   text
);

CREATE TABLE sources (
    id        integer PRIMARY KEY AUTOINCREMENT,
    name      text NOT NULL UNIQUE,
    kind      text NOT NULL,
    url       text NOT NULL,
    scope_key text NOT NULL
);

-- Which software answered: windows refer to it, since servers differ in how they count samples.
CREATE TABLE source_versions (
    id         integer PRIMARY KEY AUTOINCREMENT,
    source     integer NOT NULL REFERENCES sources,
    version    text NOT NULL,
    first_seen timestamp NOT NULL,
    UNIQUE (source, version)
);

-- A lease is a worker's exclusive right to the scope: its windows and everything summed from its charges. revision grows in
-- every transaction that changes these.
CREATE TABLE scopes (
    id           integer PRIMARY KEY AUTOINCREMENT,
    source       integer NOT NULL REFERENCES sources,
    scope_key    text NOT NULL,
    scope        text NOT NULL,
    name         text NOT NULL DEFAULT '',
    fetcher      text NOT NULL,
    active       boolean NOT NULL DEFAULT true,
    found_at     timestamp NOT NULL,
    planned_to   timestamp NOT NULL,
    lease_token  integer,
    lease_holder text,
    lease_until  timestamp,
    leased_at    timestamp NOT NULL DEFAULT 0,
    revision     integer NOT NULL DEFAULT 0,
    UNIQUE (source, scope_key, scope)
);
CREATE INDEX scopes_planned ON scopes (planned_to) WHERE active;
CREATE INDEX scopes_turn ON scopes (leased_at, id) WHERE active;

-- Numbers of the versions of rules and of metric configurations.
CREATE TABLE versions (
    kind    text NOT NULL,
    version integer NOT NULL,
    at      timestamp NOT NULL,
    author  text NOT NULL,
    PRIMARY KEY (kind, version)
);

-- first_sample is the begin of the first window that any scope had a charge in.
CREATE TABLE metrics (
    id           integer PRIMARY KEY AUTOINCREMENT,
    name         text NOT NULL UNIQUE,
    first_sample timestamp
);

CREATE TABLE metric_configs (
    source        integer NOT NULL REFERENCES sources,
    measured      text NOT NULL,
    metric        integer NOT NULL REFERENCES metrics,
    since_version integer NOT NULL,
    until_version integer,
    definition    text NOT NULL,
    PRIMARY KEY (source, measured, metric, since_version)
);

-- Rows of the rules are valid from since_version up to, not including, until_version.
CREATE TABLE rating_modules (
    name          text NOT NULL,
    since_version integer NOT NULL,
    until_version integer,
    enabled       boolean NOT NULL,
    priority      integer NOT NULL,
    PRIMARY KEY (name, since_version)
);
CREATE TABLE hashmap_groups (
    id            text NOT NULL,
    since_version integer NOT NULL,
    until_version integer,
    name          text NOT NULL,
    PRIMARY KEY (id, since_version)
);
CREATE TABLE hashmap_services (
    id            text NOT NULL,
    since_version integer NOT NULL,
    until_version integer,
    name          text NOT NULL,
    PRIMARY KEY (id, since_version)
);
CREATE TABLE hashmap_fields (
    id            text NOT NULL,
    since_version integer NOT NULL,
    until_version integer,
    service       text NOT NULL,
    name          text NOT NULL,
    PRIMARY KEY (id, since_version)
);
CREATE TABLE hashmap_rules (
    id            text NOT NULL,
    since_version integer NOT NULL,
    until_version integer,
    kind          text NOT NULL,
    service       text NOT NULL,
    field         text,
    value         text,
    level         text,
    type          text NOT NULL,
    cost          text NOT NULL,
    rule_group    text,
    scope         text,
    starts_at     timestamp,
    ends_at       timestamp,
    name          text NOT NULL,
    description   text NOT NULL,
    PRIMARY KEY (id, since_version)
);

-- slot counts the series of one scope and metric from 0; slot / 96 is the chunk of the packs that sum it.
-- No foreign keys here and in charges: the store writes both in bulk, and checks would halve its speed.
CREATE TABLE series (
    id          integer PRIMARY KEY AUTOINCREMENT,
    scope       integer NOT NULL,
    metric      integer NOT NULL,
    slot        integer NOT NULL,
    unit        text NOT NULL,
    groupby     text NOT NULL,
    metadata    text NOT NULL,
    fingerprint blob NOT NULL UNIQUE,
    UNIQUE (scope, metric, slot)
);

-- Current charges only.
CREATE TABLE charges (
    scope     integer NOT NULL,
    begins_at timestamp NOT NULL,
    period    integer NOT NULL,
    series    integer NOT NULL,
    seq       integer NOT NULL,
    qty       text NOT NULL,
    price     text NOT NULL,
    PRIMARY KEY (scope, begins_at, series, seq)
) WITHOUT ROWID;

-- What charges were before they were replaced; task is what replaced them, NULL for a window that was committed again.
CREATE TABLE superseded_charges (
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
CREATE INDEX superseded_charges_window ON superseded_charges (scope, begins_at);

-- The ledger. State: 0 due, 2 done, 3 failed, 4 waived, 5 empty. attempt is the token of the lease that tried it last.
CREATE TABLE windows (
    scope          integer NOT NULL REFERENCES scopes,
    begins_at      timestamp NOT NULL,
    period         integer NOT NULL,
    state          integer NOT NULL,
    attempts       integer NOT NULL DEFAULT 0,
    attempt        integer NOT NULL DEFAULT 0,
    next_attempt   timestamp NOT NULL,
    points         integer NOT NULL DEFAULT 0,
    unpriced       integer NOT NULL DEFAULT 0,
    amount         text NOT NULL DEFAULT '0',
    config_version integer,
    rules_version  integer,
    source_version integer,
    took_ms        integer,
    finished_at    timestamp,
    error          text,
    PRIMARY KEY (scope, begins_at)
) WITHOUT ROWID;
CREATE INDEX windows_open ON windows (scope, begins_at, next_attempt, attempt, state) WHERE state IN (0, 3);

-- What was noticed about a window that could still be processed.
CREATE TABLE findings (
    scope     integer NOT NULL,
    begins_at timestamp NOT NULL,
    kind      text NOT NULL,
    metric    text NOT NULL,
    detail    text NOT NULL,
    points    integer NOT NULL,
    PRIMARY KEY (scope, begins_at, kind, metric, detail)
) WITHOUT ROWID;

-- Points that no rule priced, summed from findings by UTC day.
CREATE TABLE unpriced_days (
    day      timestamp NOT NULL,
    scope    integer NOT NULL,
    metric   text NOT NULL,
    points   integer NOT NULL,
    first_at timestamp NOT NULL,
    last_at  timestamp NOT NULL,
    PRIMARY KEY (day, scope, metric)
) WITHOUT ROWID;

-- Roll-ups: exact sums of charges.
CREATE TABLE scope_metric_days (
    day    text NOT NULL,
    scope  integer NOT NULL,
    metric integer NOT NULL,
    unit   text NOT NULL,
    points integer NOT NULL,
    qty    text NOT NULL,
    price  text NOT NULL,
    PRIMARY KEY (day, scope, metric, unit)
) WITHOUT ROWID;
CREATE INDEX scope_metric_days_scope ON scope_metric_days (scope, day);
CREATE TABLE scope_metric_months (
    month  text NOT NULL,
    scope  integer NOT NULL,
    metric integer NOT NULL,
    unit   text NOT NULL,
    points integer NOT NULL,
    qty    text NOT NULL,
    price  text NOT NULL,
    PRIMARY KEY (month, scope, metric, unit)
) WITHOUT ROWID;
CREATE INDEX scope_metric_months_scope ON scope_metric_months (scope, month);
CREATE TABLE series_day_packs (
    day    text NOT NULL,
    scope  integer NOT NULL,
    metric integer NOT NULL,
    chunk  integer NOT NULL,
    pack   blob NOT NULL,
    PRIMARY KEY (day, scope, metric, chunk)
);
CREATE INDEX series_day_packs_scope ON series_day_packs (scope, day);
CREATE TABLE series_month_packs (
    month  text NOT NULL,
    scope  integer NOT NULL,
    metric integer NOT NULL,
    chunk  integer NOT NULL,
    pack   blob NOT NULL,
    PRIMARY KEY (month, scope, metric, chunk)
);
CREATE INDEX series_month_packs_scope ON series_month_packs (scope, month);

-- +goose Down
DROP TABLE series_month_packs;
DROP TABLE series_day_packs;
DROP TABLE scope_metric_months;
DROP TABLE scope_metric_days;
DROP TABLE unpriced_days;
DROP TABLE findings;
DROP TABLE windows;
DROP TABLE superseded_charges;
DROP TABLE charges;
DROP TABLE series;
DROP TABLE hashmap_rules;
DROP TABLE hashmap_fields;
DROP TABLE hashmap_services;
DROP TABLE hashmap_groups;
DROP TABLE rating_modules;
DROP TABLE metric_configs;
DROP TABLE metrics;
DROP TABLE versions;
DROP TABLE scopes;
DROP TABLE source_versions;
DROP TABLE sources;
DROP TABLE audit_log;
DROP TABLE sessions;
DROP TABLE user_scopes;
DROP TABLE users;
DROP TABLE settings;
