package store

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"ratebook/e2e/testserver"
	"ratebook/metering"
	"ratebook/period"
)

// TestAdvanceTasksInTurns lets AdvanceTasks do the least that it does in one call.
func TestAdvanceTasksInTurns(t *testing.T) {
	for name, url := range map[string]func() string{
		"sqlite":   func() string { return "sqlite://" + filepath.Join(t.TempDir(), "turns.db") },
		"postgres": func() string { return testserver.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) { advanceInTurns(t, url()) })
	}
}

func advanceInTurns(t *testing.T, url string) {
	windows, sweep, advance := markWindows, sweepFor, advanceFor
	defer func() { markWindows, sweepFor, advanceFor = windows, sweep, advance }()
	markWindows, sweepFor, advanceFor = 10, 0, 0
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s, src := openFresh(t, url)
	begin := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	end := begin.Add(25 * time.Hour)
	_, err := s.AddScopes(ctx, src, "static", []metering.Found{{ID: "a"}, {ID: "b"}}, begin)
	must(err)
	_, err = s.Plan(ctx, time.Hour, end)
	must(err)
	exec := func(query string, args ...any) {
		t.Helper()
		must(s.update(ctx, func(t *tx) error {
			_, err := t.exec(ctx, query, args...)
			return err
		}))
	}
	exec("UPDATE windows SET state = 2")
	create := func() int64 {
		t.Helper()
		id, err := s.CreateTask(ctx, &metering.NewTask{Kind: metering.Rerate, AllScopes: true, Range: period.Range{Begin: begin, End: end}, Reason: "x", Author: "x"})
		must(err)
		return id
	}
	again := metering.LeaseRequest{Again: true, TriedBefore: 1}
	advanced := func(id int64) (calls int, text string) {
		t.Helper()
		for {
			task, err := s.Task(ctx, id)
			must(err)
			if text = fmt.Sprintf("%s: %d windows, %d left", task.State, task.Windows, task.Left); task.Planned {
				return calls, text
			}
			if pending, err := s.Pending(ctx, again); err != nil || !pending {
				t.Fatalf("after %d calls nothing is pending: %s, %v", calls, text, err)
			}
			if calls++; calls > 100 {
				t.Fatal("it does not get on: ", text)
			}
			must(s.AdvanceTasks(ctx))
		}
	}
	first := create()
	if calls, text := advanced(first); calls < 5 || text != "running: 50 windows, 50 left" {
		t.Errorf("%d calls: %s", calls, text)
	}
	// windows that a cancelled task still has are taken from it, not passed over
	exec("UPDATE tasks SET state = 'cancelled' WHERE id = ?", first)
	second := create()
	if calls, text := advanced(second); calls < 10 || text != "running: 50 windows, 50 left" {
		t.Errorf("%d calls: %s", calls, text)
	}
	exec("UPDATE windows SET attempt = 1")
	if pending, err := s.Pending(ctx, again); err != nil || pending {
		t.Error("pending, and marked and tried", err)
	}
}
