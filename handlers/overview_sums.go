package handlers

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"ratebook/costs"
	"ratebook/fault"
	"ratebook/money"
	"ratebook/views/pages"
)

// costSums is what answers reports.
type costSums interface {
	Report(ctx context.Context, q *costs.Query, yield func(costs.Row) error) (costs.Total, error)
	ReportVersion(ctx context.Context) (version string, stable bool, err error)
}

// How much of a version's answers is kept.
const (
	keptAnswers = 200
	keptRows    = 5_000 // of one answer
)

// sums asks reports, and keeps the answers as long as what they were made from does not change.
type sums struct {
	store   costSums
	mu      sync.Mutex
	version string
	known   map[string]*sumsAnswer // by the query, filters included
}

// sumsAnswer is a report's whole answer; it is shared and must not be changed.
type sumsAnswer struct {
	rows  []costs.Row
	total costs.Total
}

// report answers a small report. A tenant's filter is part of the query, and so of what an answer is known by.
func (s *sums) report(ctx context.Context, q *costs.Query) (*sumsAnswer, error) {
	// the version is read before the sums: what changes between makes the answer newer than its version, never older
	version, stable, err := s.store.ReportVersion(ctx)
	if err != nil {
		return nil, err
	}
	// quoted, so that no two questions look alike, whatever bytes are in them
	id := fmt.Sprintf("%s %s %d %q %q", q.Range.Begin.UTC(), q.Range.End.UTC(), q.Bucket, q.Groups, q.Filters)
	if stable {
		if a := s.get(version, id); a != nil {
			return a, nil
		}
	}
	a := &sumsAnswer{}
	a.total, err = s.store.Report(ctx, q, func(r costs.Row) error {
		r.Groups = slices.Clone(r.Groups)
		a.rows = append(a.rows, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if stable && len(a.rows) <= keptRows {
		s.keep(version, id, a)
	}
	return a, nil
}

// reports answers several small reports at once.
func (s *sums) reports(ctx context.Context, questions ...*costs.Query) ([]*sumsAnswer, error) {
	answers, errs := make([]*sumsAnswer, len(questions)), make([]error, len(questions))
	var all sync.WaitGroup
	for i, q := range questions {
		all.Go(func() {
			defer func() { // a request that panics ends alone, also in a goroutine of its own
				if r := recover(); r != nil {
					errs[i] = fmt.Errorf("handlers: a report panicked: %v\n%s", r, debug.Stack())
				}
			}()
			answers[i], errs[i] = s.report(ctx, q)
		})
	}
	all.Wait()
	return answers, cmp.Or(errs...)
}

func (s *sums) get(version, id string) *sumsAnswer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if version != s.version {
		return nil
	}
	return s.known[id]
}

func (s *sums) keep(version, id string, a *sumsAnswer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if version != s.version || len(s.known) >= keptAnswers {
		s.version, s.known = version, map[string]*sumsAnswer{}
	}
	s.known[id] = a
}

// by adds up the costs of an answer by its n-th group.
func (a *sumsAnswer) by(n int) map[string]money.Decimal {
	all := map[string]money.Decimal{}
	for i := range a.rows {
		all[a.rows[i].Groups[n]] = all[a.rows[i].Groups[n]].Add(a.rows[i].Cost)
	}
	return all
}

// dearest returns the keys by falling amount, equals by name.
func dearest(amounts map[string]money.Decimal) []string {
	names := make([]string, 0, len(amounts))
	for name := range amounts {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if c := amounts[b].Cmp(amounts[a]); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	return names
}

// failed makes the face of a part of a page that could not be made, and logs why. title says which part; retry is the
// page's address.
func failed(ctx context.Context, log *slog.Logger, title string, err error, retry string) *pages.Failure {
	log.ErrorContext(ctx, "a part of a page could not be made", "part", title, "error", err)
	text := "The database did not answer as it should; the server's log says why."
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Kind != fault.Internal {
		text = e.Message
	}
	return &pages.Failure{Title: title, Text: text, Retry: retry}
}

// digest identifies what a page shows.
func digest(view any) (string, error) {
	b, err := json.Marshal(view)
	if err != nil {
		return "", fmt.Errorf("handlers: a page's version: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16]), nil
}
