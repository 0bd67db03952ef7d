package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"ratebook/fault"
)

// What has versions.
const (
	rulesVersions  = "rules"
	metricVersions = "metrics"
)

// version returns the latest version of a kind, 0 if there is none yet.
func (t *tx) version(ctx context.Context, kind string) (v int64, err error) {
	_, err = t.get(ctx, &v, "SELECT COALESCE(MAX(version), 0) FROM versions WHERE kind = ?", kind)
	return v, err
}

// Versions returns the latest versions of the metric configurations and of the rules.
func (s *Store) Versions(ctx context.Context) (config, rules int64, err error) {
	err = s.view(ctx, func(t *tx) (err error) {
		if config, err = t.version(ctx, metricVersions); err == nil {
			rules, err = t.version(ctx, rulesVersions)
		}
		return err
	})
	return config, rules, err
}

// nextVersion makes the version after base. If base isn't the latest any more, somebody else has changed things since
// they were read, and nothing may be changed on that ground.
func (t *tx) nextVersion(ctx context.Context, kind string, base int64, author string) (int64, error) {
	query, args := t.d.insertVersion(kind, base, author, at(time.Now()))
	n, err := t.exec(ctx, query, args...)
	if isDuplicate(err) || err == nil && n == 0 {
		return 0, conflict(kind)
	}
	return base + 1, err
}

// insertVersion is the statement that makes the version after base, if that is the latest.
func (d *dialect) insertVersion(kind string, base int64, author string, now any) (query string, args []any) {
	return "INSERT INTO versions (kind, version, at, author) SELECT CAST(? AS text), CAST(? AS bigint), " + d.bindTime +
		", CAST(? AS text) WHERE (SELECT COALESCE(MAX(version), 0) FROM versions WHERE kind = ?) = ?", []any{kind, base + 1, now, author, kind, base}
}

// conflict says that somebody else was faster.
func conflict(kind string) error {
	return fault.New(fault.Conflict, "the %s were changed by somebody else meanwhile; look at them and try again", kind)
}

// asOf selects the rows that are valid at a version, given twice.
const asOf = "since_version <= ? AND (until_version IS NULL OR until_version > ?)"

// versioned is a table whose rows are valid for a range of versions.
type versioned struct {
	table   string
	key     []string // columns that identify a thing through its versions
	columns []string // all others, but since_version and until_version
}

// entry is one row of a versioned table: its key's and its other columns' values, as bound.
type entry struct{ key, values []any }

// supersede ends rows as of a version, and begins others.
func (t *tx) supersede(ctx context.Context, v versioned, version int64, ended, begun []entry) error {
	const most = 200 // things a statement
	row := "(" + strings.Join(v.key, " = ? AND ") + " = ?)"
	for part := range slices.Chunk(ended, most) {
		args := []any{version}
		for _, e := range part {
			args = append(args, e.key...)
		}
		where := row + strings.Repeat(" OR "+row, len(part)-1)
		if len(v.key) == 1 {
			where = v.key[0] + " IN (?" + strings.Repeat(", ?", len(part)-1) + ")"
		}
		n, err := t.exec(ctx, "UPDATE "+v.table+" SET until_version = ? WHERE until_version IS NULL AND ("+where+")", args...)
		if err != nil {
			return err
		}
		if n != int64(len(part)) {
			return fault.New(fault.Internal, "%s: %d rows instead of %d ended with version %d", v.table, n, len(part), version)
		}
	}
	if len(begun) == 0 {
		return nil
	}
	var values []any
	for _, e := range begun {
		values = append(append(append(values, version), e.key...), e.values...)
	}
	return t.insertRows(ctx, v.insertHead(), "", 1+len(v.key)+len(v.columns), values)
}

// insertHead begins an INSERT of rows: since which version, the key, the other columns.
func (v *versioned) insertHead() string {
	return "INSERT INTO " + v.table + " (since_version, " + strings.Join(slices.Concat(v.key, v.columns), ", ") + ")"
}

// replace works out what differs between two sets of things with a key.
func replace[T comparable](v versioned, before, after map[string]T, bind func(T) entry) tableChange {
	c := tableChange{v: v}
	for k, b := range before {
		if a, ok := after[k]; !ok || a != b {
			c.ended = append(c.ended, bind(b))
		}
	}
	for k, a := range after {
		if b, ok := before[k]; !ok || a != b {
			c.begun = append(c.begun, bind(a))
		}
	}
	return c
}
