package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// revise notes that what the scopes are charged changes in this transaction, which holds their rows. Revisions grow, and
// are times so that a database that was put back to an earlier state doesn't come to one it had.
func (t *tx) revise(ctx context.Context, scopes []int64) error {
	now := time.Now().UnixNano()
	query, args := in("UPDATE scopes SET revision = CASE WHEN revision < ? THEN ? ELSE revision + 1 END WHERE id IN (?)", now, now, scopes)
	_, err := t.exec(ctx, query, args...)
	return err
}

// ReportVersion returns a text that is another whenever a report could be: after commits, new windows, scopes and metrics,
// other names and settings. A report that was begun after its version was read is of that state or a newer one, so that a
// reader who comes back with the version is never told that what it has is current when it isn't. stable is false while
// the billing zone is being changed, when there are no reports. It reads a row for each scope.
func (s *Store) ReportVersion(ctx context.Context) (version string, stable bool, err error) {
	h := sha256.New()
	var buf []byte
	text := func(s string) { buf = append(binary.AppendUvarint(buf, uint64(len(s))), s...) }
	flush := func() {
		h.Write(buf)
		buf = buf[:0]
	}
	stable = true
	err = s.view(ctx, func(t *tx) error {
		err := t.each(ctx, func(rows *sqlx.Rows) error {
			var (
				id, revision int64
				planned      timestamp
				name         string
			)
			if err := rows.Scan(&id, &revision, &planned, &name); err != nil {
				return fmt.Errorf("store: scopes: %w", err)
			}
			buf = binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(buf, id), revision), planned.Unix())
			text(name)
			flush()
			return nil
		}, "SELECT id, revision, planned_to, name FROM scopes ORDER BY id")
		if err != nil {
			return err
		}
		pairs := func(query string) error {
			buf = append(buf, 0)
			return t.each(ctx, func(rows *sqlx.Rows) error {
				var key, value string
				if err := rows.Scan(&key, &value); err != nil {
					return fmt.Errorf("store: %s: %w", firstWords(query), err)
				}
				text(key)
				text(value)
				flush()
				stable = stable && key != settingRecut
				return nil
			}, query)
		}
		if err := pairs("SELECT CAST(id AS text), name FROM metrics ORDER BY id"); err != nil {
			return err
		}
		return pairs("SELECT name, value FROM settings ORDER BY name")
	})
	if err != nil {
		return "", false, err
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:15]), stable, nil
}
