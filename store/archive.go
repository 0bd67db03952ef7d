package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
)

// SQL for many charges a row, each column a list as text with commas between: begins in Unix seconds, series, seq,
// quantities and prices. Each database has the form that it is quickest with, and that scans its index once: see chargeText.
const (
	archiveTextSQLite = "scope, string_agg(begins_at, ','), string_agg(series, ','), string_agg(seq, ','), string_agg(qty, ','), string_agg(price, ',')"
	// one begin for all; a list is in braces
	archiveTextPostgres = "scope, CAST(extract(epoch FROM begins_at) AS bigint), array_agg(series), array_agg(seq), array_agg(qty), array_agg(price)"
)

// Charges returns the current charges of some scopes' windows as rated usage: for each scope, in their order, one for
// every series and seq, in the order of these, with the samples by window. To commit it again as it is makes the same
// charges. Of a series' points that a window has several of, the first may be missing in all windows of the run: usage
// without samples keeps its place then.
//
// The usage's attributes must not be changed. Its metrics have a number, a name and a unit, nothing else, and are shared.
func (s *Store) Charges(ctx context.Context, scopes []*metering.Scope, run period.Run) (usage []metering.Usage, err error) {
	if len(scopes) == 0 || run.Count < 1 {
		return nil, nil
	}
	err = s.viewCharges(ctx, func(t *tx) error {
		a := archive{run: run, places: map[place]int{}}
		if err := a.read(ctx, t, scopes); err != nil {
			return err
		}
		usage, err = a.usage(ctx, s, t, scopes)
		return err
	})
	return usage, err
}

// place is what an archive keeps charges together by.
type place struct {
	series int64
	seq    int
}

// filed are the charges of one place.
type filed struct {
	place
	samples []metering.Sample
}

// archive collects charges of a run.
type archive struct {
	run    period.Run
	files  []filed
	places map[place]int     // where in files; a series is one scope's
	room   []metering.Sample // for the samples of further files
}

func (a *archive) read(ctx context.Context, t *tx, scopes []*metering.Scope) error {
	columns, group := archiveTextPostgres, "scope, begins_at"
	if t.d == &sqliteDialect {
		columns, group = archiveTextSQLite, "scope"
	}
	r := a.run.Range()
	for part := range slices.Chunk(refs(scopes), mostIDs) {
		query, args := in("SELECT "+columns+" FROM charges WHERE scope IN (?) AND begins_at >= ? AND begins_at < ? GROUP BY "+group+" ORDER BY "+group, part, at(r.Begin), at(r.End))
		err := t.each(ctx, func(rows *sqlx.Rows) error {
			var scope int64
			var begins, series, seq, qty, price sql.RawBytes
			if err := rows.Scan(&scope, &begins, &series, &seq, &qty, &price); err != nil {
				return fmt.Errorf("store: charges: %w", err)
			}
			return a.add(scope, newArchiveText(begins, series, seq, qty, price))
		}, query, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// archiveText reads a row of charges. The columns must not change meanwhile.
type archiveText struct{ begins, series, seq, qty, price items }

func newArchiveText(begins, series, seq, qty, price []byte) *archiveText {
	return &archiveText{begins: list(begins), series: list(series), seq: list(seq), qty: list(qty), price: list(price)}
}

// items is a list of words as text.
type items struct{ rest []byte }

func list(column []byte) items {
	return items{bytes.TrimSuffix(bytes.TrimPrefix(column, []byte("{")), []byte("}"))}
}

func (i *items) next() (word []byte) {
	if end := bytes.IndexByte(i.rest, ','); end >= 0 {
		word, i.rest = i.rest[:end], i.rest[end+1:]
		return word
	}
	word, i.rest = i.rest, nil
	return word
}

// next reads a charge, and reports whether there is one. The begin stays what it was if one is for all.
func (t *archiveText) next(begin *int64, p *place, sample *metering.Sample) (more bool, err error) {
	if len(t.series.rest) == 0 {
		return false, nil
	}
	isBegin := true
	if len(t.begins.rest) > 0 {
		*begin, isBegin = integer(t.begins.next())
	}
	series, isSeries := integer(t.series.next())
	seq, isSeq := integer(t.seq.next())
	if !isBegin || !isSeries || !isSeq {
		return false, errSumText
	}
	*p = place{series, int(seq)}
	if sample.Qty, err = money.ParseBytes(t.qty.next()); err == nil {
		sample.Price, err = money.ParseBytes(t.price.next())
	}
	return true, err
}

// add files the charges of a row.
func (a *archive) add(scope int64, text *archiveText) error {
	var (
		p       place
		sample  metering.Sample
		begin   int64
		first   = a.run.Begin.Unix()
		seconds = int64(a.run.Length / time.Second)
	)
	for {
		more, err := text.next(&begin, &p, &sample)
		if err != nil || !more {
			return err
		}
		if (begin-first)%seconds != 0 {
			return fault.New(fault.Conflict, "scope %d has charges from %s on, inside a window of %s", scope, time.Unix(begin, 0).UTC().Format(time.RFC3339), a.run.Length)
		}
		sample.Window = int((begin - first) / seconds)
		i, ok := a.places[p]
		if !ok {
			i = len(a.files)
			a.places[p] = i
			a.files = append(a.files, filed{place: p, samples: a.samples()})
		}
		a.files[i].samples = append(a.files[i].samples, sample)
	}
}

// samples returns room for the samples of one place.
func (a *archive) samples() []metering.Sample {
	n := a.run.Count
	if len(a.room) < n {
		a.room = make([]metering.Sample, 64*n)
	}
	room := a.room[:0:n]
	a.room = a.room[n:]
	return room
}

// usage makes usage of what was read.
func (a *archive) usage(ctx context.Context, s *Store, t *tx, scopes []*metering.Scope) ([]metering.Usage, error) {
	order := make(map[int64]int, len(scopes))
	for i, scope := range scopes {
		order[scope.Ref] = i
	}
	var ids []int64
	for i := range a.files {
		ids = append(ids, a.files[i].series)
	}
	called := make(map[int64]*labels, len(ids))
	if err := s.seriesLabels(ctx, t, ids, func(id int64, l *labels) { called[id] = l }); err != nil {
		return nil, err
	}
	metrics, err := t.archiveMetrics(ctx, called)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(a.files, func(x, y filed) int {
		return cmp.Or(cmp.Compare(order[called[x.series].scope], order[called[y.series].scope]), cmp.Compare(x.series, y.series), cmp.Compare(x.seq, y.seq))
	})
	usage := make([]metering.Usage, 0, len(a.files))
	next := place{} // that must come before those of the series that follow
	for i := range a.files {
		f := &a.files[i]
		l := called[f.series]
		u := metering.Usage{Series: metering.Series{
			Scope: scopes[order[l.scope]], Metric: metrics[metricUnit{l.metric, l.unit}], Groupby: l.groupby, Metadata: l.metadata, Literals: l.literals,
		}}
		if f.series != next.series {
			next = place{series: f.series}
		}
		for ; next.seq < f.seq; next.seq++ {
			usage = append(usage, u)
		}
		next.seq++
		u.Samples = f.samples
		if byWindow := func(x, y metering.Sample) int { return cmp.Compare(x.Window, y.Window) }; !slices.IsSortedFunc(u.Samples, byWindow) {
			slices.SortFunc(u.Samples, byWindow) // databases promise no order within a text
		}
		usage = append(usage, u)
	}
	return usage, nil
}

// metricUnit is what a metric of usage was called then.
type metricUnit struct {
	metric int64
	unit   string
}

// archiveMetrics returns the metrics of some series, one for each unit that they had.
func (t *tx) archiveMetrics(ctx context.Context, called map[int64]*labels) (map[metricUnit]*metering.Metric, error) {
	metrics := map[metricUnit]*metering.Metric{}
	if len(called) == 0 {
		return metrics, nil
	}
	names := map[int64]string{}
	err := t.each(ctx, func(rows *sqlx.Rows) error {
		var id int64
		var name string
		if err := rows.Scan(&id, &name); err != nil {
			return fmt.Errorf("store: metrics: %w", err)
		}
		names[id] = name
		return nil
	}, "SELECT id, name FROM metrics")
	if err != nil {
		return nil, err
	}
	for _, l := range called {
		k := metricUnit{l.metric, l.unit}
		if metrics[k] == nil {
			metrics[k] = &metering.Metric{Ref: l.metric, Name: names[l.metric], Unit: l.unit}
		}
	}
	return metrics, nil
}
