-- Times are whole seconds UTC. Amounts and quantities are exact decimals. Days and months are those of the billing zone.

-- +goose Up
CREATE TABLE settings (
    name  text PRIMARY KEY,
    value text NOT NULL
);

CREATE TABLE users (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    login         text NOT NULL UNIQUE,
    role          text NOT NULL,
    password_hash text NOT NULL,
    created_at    timestamptz NOT NULL,
    disabled_at   timestamptz,
    credentials   bigint NOT NULL DEFAULT 1
);

-- What a tenant may read: ids of scopes, also of those that are yet to be found.
CREATE TABLE user_scopes (
    user_id bigint NOT NULL REFERENCES users,
    scope   text NOT NULL,
    PRIMARY KEY (user_id, scope)
);

-- token is a digest of what the browser has.
CREATE TABLE sessions (
    token      text PRIMARY KEY,
    data       bytea NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_expiry ON sessions (expires_at);

-- Everything an operator changes.
CREATE TABLE audit_log (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL,
    actor   text NOT NULL,
    action  text NOT NULL,
    subject text NOT NULL,
    before  text,
    after   text
);

CREATE TABLE sources (
    id        int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name      text NOT NULL UNIQUE,
    kind      text NOT NULL,
    url       text NOT NULL,
    scope_key text NOT NULL
);

-- Which software answered: windows refer to it, since servers differ in how they count samples.
CREATE TABLE source_versions (
    id         int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source     int NOT NULL REFERENCES sources,
    version    text NOT NULL,
    first_seen timestamptz NOT NULL,
    UNIQUE (source, version)
);

-- A lease is a worker's exclusive right to the scope: its windows and everything summed from its charges. revision grows in
-- every transaction that changes these.
CREATE TABLE scopes (
    id           int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source       int NOT NULL REFERENCES sources,
    scope_key    text NOT NULL,
    scope        text NOT NULL,
    name         text NOT NULL DEFAULT '',
    fetcher      text NOT NULL,
    active       boolean NOT NULL DEFAULT true,
    found_at     timestamptz NOT NULL,
    planned_to   timestamptz NOT NULL,
    lease_token  bigint,
    lease_holder text,
    lease_until  timestamptz,
    leased_at    timestamptz NOT NULL DEFAULT 'epoch',
    revision     bigint NOT NULL DEFAULT 0,
    UNIQUE (source, scope_key, scope)
) WITH (fillfactor = 50);
CREATE INDEX scopes_planned ON scopes (planned_to) WHERE active;
CREATE INDEX scopes_turn ON scopes (leased_at, id) WHERE active;

-- Numbers of the versions of rules and of metric configurations.
CREATE TABLE versions (
    kind    text NOT NULL,
    version bigint NOT NULL,
    at      timestamptz NOT NULL,
    author  text NOT NULL,
    PRIMARY KEY (kind, version)
);

-- first_sample is the begin of the first window that any scope had a charge in.
CREATE TABLE metrics (
    id           int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text NOT NULL UNIQUE,
    first_sample timestamptz
);

CREATE TABLE metric_configs (
    source        int NOT NULL REFERENCES sources,
    measured      text NOT NULL,
    metric        int NOT NULL REFERENCES metrics,
    since_version bigint NOT NULL,
    until_version bigint,
    definition    text NOT NULL,
    PRIMARY KEY (source, measured, metric, since_version)
);

-- Rows of the rules are valid from since_version up to, not including, until_version.
CREATE TABLE rating_modules (
    name          text NOT NULL,
    since_version bigint NOT NULL,
    until_version bigint,
    enabled       boolean NOT NULL,
    priority      int NOT NULL,
    PRIMARY KEY (name, since_version)
);
CREATE TABLE hashmap_groups (
    id            text NOT NULL,
    since_version bigint NOT NULL,
    until_version bigint,
    name          text NOT NULL,
    PRIMARY KEY (id, since_version)
);
CREATE TABLE hashmap_services (
    id            text NOT NULL,
    since_version bigint NOT NULL,
    until_version bigint,
    name          text NOT NULL,
    PRIMARY KEY (id, since_version)
);
CREATE TABLE hashmap_fields (
    id            text NOT NULL,
    since_version bigint NOT NULL,
    until_version bigint,
    service       text NOT NULL,
    name          text NOT NULL,
    PRIMARY KEY (id, since_version)
);
CREATE TABLE hashmap_rules (
    id            text NOT NULL,
    since_version bigint NOT NULL,
    until_version bigint,
    kind          text NOT NULL,
    service       text NOT NULL,
    field         text,
    value         text,
    level         numeric,
    type          text NOT NULL,
    cost          numeric NOT NULL,
    rule_group    text,
    scope         text,
    starts_at     timestamptz,
    ends_at       timestamptz,
    name          text NOT NULL,
    description   text NOT NULL,
    PRIMARY KEY (id, since_version)
);

-- slot counts the series of one scope and metric from 0; slot / 96 is the chunk of the packs that sum it.
-- No foreign keys here and in charges: the store writes both in bulk, and checks would halve its speed.
CREATE TABLE series (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope       int NOT NULL,
    metric      int NOT NULL,
    slot        int NOT NULL,
    unit        text NOT NULL,
    groupby     json NOT NULL,
    metadata    json NOT NULL,
    fingerprint bytea NOT NULL UNIQUE,
    UNIQUE (scope, metric, slot)
);

-- Current charges only. Partitioned by UTC month of begins_at; the store makes partitions ahead.
CREATE TABLE charges (
    scope     int NOT NULL,
    begins_at timestamptz NOT NULL,
    period    int NOT NULL,
    series    bigint NOT NULL,
    seq       smallint NOT NULL,
    qty       numeric NOT NULL,
    price     numeric NOT NULL
) PARTITION BY RANGE (begins_at);
CREATE UNIQUE INDEX charges_key ON charges (scope, begins_at, series, seq);

-- What charges were before they were replaced; task is what replaced them, NULL for a window that was committed again.
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
CREATE INDEX superseded_charges_window ON superseded_charges (scope, begins_at);

-- The ledger. State: 0 due, 2 done, 3 failed, 4 waived, 5 empty. attempt is the token of the lease that tried it last.
CREATE TABLE windows (
    scope          int NOT NULL REFERENCES scopes,
    begins_at      timestamptz NOT NULL,
    period         int NOT NULL,
    state          smallint NOT NULL,
    attempts       int NOT NULL DEFAULT 0,
    attempt        bigint NOT NULL DEFAULT 0,
    next_attempt   timestamptz NOT NULL,
    points         int NOT NULL DEFAULT 0,
    unpriced       int NOT NULL DEFAULT 0,
    amount         numeric NOT NULL DEFAULT 0,
    config_version bigint,
    rules_version  bigint,
    source_version int,
    took_ms        int,
    finished_at    timestamptz,
    error          text,
    PRIMARY KEY (scope, begins_at)
) WITH (fillfactor = 80);
CREATE INDEX windows_open ON windows (scope, begins_at) INCLUDE (next_attempt, attempt, state) WHERE state IN (0, 3);

-- What was noticed about a window that could still be processed.
CREATE TABLE findings (
    scope     int NOT NULL,
    begins_at timestamptz NOT NULL,
    kind      text NOT NULL,
    metric    text NOT NULL,
    detail    text NOT NULL,
    points    int NOT NULL,
    PRIMARY KEY (scope, begins_at, kind, metric, detail)
);

-- Points that no rule priced, summed from findings by UTC day.
CREATE TABLE unpriced_days (
    day      timestamptz NOT NULL,
    scope    int NOT NULL,
    metric   text NOT NULL,
    points   bigint NOT NULL,
    first_at timestamptz NOT NULL,
    last_at  timestamptz NOT NULL,
    PRIMARY KEY (day, scope, metric)
) WITH (fillfactor = 50);

-- Roll-ups: exact sums of charges. Their sums are in no index and their pages are half empty, so that updates stay in
-- the page (HOT) and need no vacuum.
CREATE TABLE scope_metric_days (
    day    date NOT NULL,
    scope  int NOT NULL,
    metric int NOT NULL,
    unit   text NOT NULL,
    points bigint NOT NULL,
    qty    numeric NOT NULL,
    price  numeric NOT NULL,
    PRIMARY KEY (day, scope, metric, unit)
) WITH (fillfactor = 50);
CREATE INDEX scope_metric_days_scope ON scope_metric_days (scope, day);
CREATE TABLE scope_metric_months (
    month  date NOT NULL,
    scope  int NOT NULL,
    metric int NOT NULL,
    unit   text NOT NULL,
    points bigint NOT NULL,
    qty    numeric NOT NULL,
    price  numeric NOT NULL,
    PRIMARY KEY (month, scope, metric, unit)
) WITH (fillfactor = 50);
CREATE INDEX scope_metric_months_scope ON scope_metric_months (scope, month);
CREATE TABLE series_day_packs (
    day    date NOT NULL,
    scope  int NOT NULL,
    metric int NOT NULL,
    chunk  int NOT NULL,
    pack   bytea NOT NULL,
    PRIMARY KEY (day, scope, metric, chunk)
) WITH (fillfactor = 45);
ALTER TABLE series_day_packs ALTER pack SET STORAGE external;
CREATE INDEX series_day_packs_scope ON series_day_packs (scope, day);
CREATE TABLE series_month_packs (
    month  date NOT NULL,
    scope  int NOT NULL,
    metric int NOT NULL,
    chunk  int NOT NULL,
    pack   bytea NOT NULL,
    PRIMARY KEY (month, scope, metric, chunk)
) WITH (fillfactor = 45);
ALTER TABLE series_month_packs ALTER pack SET STORAGE external;
CREATE INDEX series_month_packs_scope ON series_month_packs (scope, month);

-- +goose Down
DROP TABLE series_month_packs, series_day_packs, scope_metric_months, scope_metric_days, unpriced_days, findings,
    windows, superseded_charges, charges, series, hashmap_rules, hashmap_fields, hashmap_services, hashmap_groups,
    rating_modules, metric_configs, metrics, versions, scopes, source_versions, sources, audit_log, sessions,
    user_scopes, users, settings;
