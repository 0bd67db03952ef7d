package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/jmoiron/sqlx"

	"ratebook/metering"
)

// labels are what a series is called; they never change.
type labels struct {
	scope, metric     int64
	unit              string
	groupby, metadata metering.Attributes
	literals          []string // names of attributes whose values are JSON that is no text
}

// maxLabels bounds the series whose labels are cached, at some 300 bytes each.
const maxLabels = 400_000

// cachedLabels returns the labels of a series, or nil if they are not cached.
func (s *Store) cachedLabels(id int64) *labels {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.labels.get(id)
}

// seriesLabels calls fn with the labels of each of the series, reading those that are not cached.
func (s *Store) seriesLabels(ctx context.Context, t *tx, ids []int64, fn func(id int64, l *labels)) error {
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	var absent []int64
	s.mu.Lock()
	for _, id := range ids {
		if l := s.labels.get(id); l != nil {
			fn(id, l)
		} else {
			absent = append(absent, id)
		}
	}
	s.mu.Unlock()
	if len(absent) == 0 {
		return nil
	}

	read := make(map[int64]*labels, len(absent))
	same := map[string]string{} // labels repeat: keep one copy of each text
	scan := func(rows *sqlx.Rows) error {
		var (
			id                int64
			l                 labels
			groupby, metadata []byte
		)
		err := rows.Scan(&id, &l.scope, &l.metric, &l.unit, &groupby, &metadata)
		if err == nil {
			l.groupby, err = readAttributes(groupby, same, &l.literals)
		}
		if err == nil {
			l.metadata, err = readAttributes(metadata, same, &l.literals)
		}
		if err != nil {
			return fmt.Errorf("store: series %d: %w", id, err)
		}
		l.unit = intern(same, []byte(l.unit))
		read[id] = &l
		return nil
	}
	const query = "SELECT id, scope, metric, unit, groupby, metadata FROM series WHERE id "
	if first, last := absent[0], absent[len(absent)-1]; last-first < 4*int64(len(absent)) {
		if err := t.each(ctx, scan, query+"BETWEEN ? AND ?", first, last); err != nil {
			return err
		}
	} else {
		for part := range slices.Chunk(absent, 1000) {
			query, args := in(query+"IN (?)", part)
			if err := t.each(ctx, scan, query, args...); err != nil {
				return err
			}
		}
	}
	for _, id := range absent {
		l := read[id]
		if l == nil {
			return fmt.Errorf("store: series %d is summed but does not exist", id)
		}
		fn(id, l)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.labelled += len(read); s.labelled > maxLabels {
		s.labels, s.labelled = bySeries[*labels]{}, len(read)
	}
	if len(read) <= maxLabels {
		for _, id := range absent {
			s.labels.set(id, read[id])
		}
	}
	return nil
}

func intern(same map[string]string, b []byte) string {
	s, ok := same[string(b)]
	if !ok {
		s = string(b)
		same[s] = s
	}
	return s
}

// parseAttributes reads a JSON object as attributesJSON writes it; values that are no strings keep their text.
func parseAttributes(b []byte, same map[string]string) (metering.Attributes, error) {
	var literals []string
	return readAttributes(b, same, &literals)
}

// readAttributes is parseAttributes, and literals gets the names of values that are no strings.
func readAttributes(b []byte, same map[string]string, literals *[]string) (metering.Attributes, error) {
	if bytes.IndexByte(b, '\\') < 0 {
		if as, ok := parsePlain(b, same); ok {
			return as, nil
		}
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(b, &values); err != nil {
		return nil, fmt.Errorf("attributes: %w", err)
	}
	as := make(metering.Attributes, 0, len(values))
	for name, raw := range values {
		var text string
		if raw[0] != '"' {
			text = string(raw)
			*literals = append(*literals, name)
		} else if err := json.Unmarshal(raw, &text); err != nil {
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		as = append(as, metering.Attribute{Name: name, Value: text})
	}
	as.Sort()
	return as, nil
}

// parsePlain reads {"a":"b",...} without escapes and white space: almost every series, ten times faster.
func parsePlain(b []byte, same map[string]string) (metering.Attributes, bool) {
	if len(b) < 2 || b[0] != '{' || b[len(b)-1] != '}' {
		return nil, false
	}
	b = b[1 : len(b)-1]
	var as metering.Attributes
	text := func() (string, bool) {
		if len(b) == 0 || b[0] != '"' {
			return "", false
		}
		end := bytes.IndexByte(b[1:], '"')
		if end < 0 {
			return "", false
		}
		s := intern(same, b[1:1+end])
		b = b[end+2:]
		return s, true
	}
	for len(b) > 0 {
		if as != nil {
			if b[0] != ',' {
				return nil, false
			}
			b = b[1:]
		} else {
			as = make(metering.Attributes, 0, bytes.Count(b, []byte(`":"`)))
		}
		name, ok := text()
		if !ok || len(b) == 0 || b[0] != ':' {
			return nil, false
		}
		b = b[1:]
		value, ok := text()
		if !ok {
			return nil, false
		}
		as = append(as, metering.Attribute{Name: name, Value: value})
	}
	return as, true
}
