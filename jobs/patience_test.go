package jobs

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"ratebook/fault"
	"ratebook/metering"
)

// TestDatabaseAway has the database away for a while, whatever is being done then: everything is done in the end, once.
func TestDatabaseAway(t *testing.T) {
	everything := []string{"token", "lease", "renew", "release", "pending", "commit"}
	for name, c := range map[string]struct {
		methods []string
		torn    bool
		from    time.Duration
	}{
		"from the beginning":                   {methods: everything},
		"while it collects":                    {methods: everything, from: 3 * time.Second},
		"at the commit":                        {methods: []string{"commit"}, from: time.Second},
		"at the commit, which was carried out": {methods: []string{"commit", "release"}, from: time.Second, torn: true},
		"when leases are given back":           {methods: []string{"release"}, from: time.Second},
		"when others are waited for":           {methods: []string{"pending"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBook(t, 20, 30)
				b.torn = c.torn
				b.away(c.from, c.from+40*time.Second, c.methods...)
				p := processor(b, slow(2*time.Second, one))
				p.Workers, p.Patience = 3, time.Minute
				meter := new(metered)
				p.Meter = meter
				began := time.Now()
				sum, err := p.Process(t.Context(), Work{Once: true})
				if took := time.Since(began); err != nil || b.count(metering.Done) != 20*30 || took > 2*time.Minute {
					t.Errorf("error %v, %d windows done after %s", err, b.count(metering.Done), took)
				}
				if sum.Done+sum.CutOff < 20*30 || sum.CutOff == 0 && sum.Done != 20*30 || sum.Lost > 0 {
					t.Errorf("the summary says %d done, %d cut off, %d lost", sum.Done, sum.CutOff, sum.Lost)
				}
				if meter.database == 0 {
					t.Error("the meter has not heard of it")
				}
			})
		})
	}
}

// TestDatabaseGone gives up after a minute without progress, or at once if another tick will come.
func TestDatabaseGone(t *testing.T) {
	for _, c := range []struct {
		once     bool
		patience time.Duration
		from, to time.Duration // how long it takes
	}{
		{true, time.Minute, 50 * time.Second, time.Minute},
		{true, 0, 0, 0},
		{false, time.Minute, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBook(t, 2, 2)
			b.away(0, time.Hour, "commit")
			p := processor(b, one)
			p.Patience = c.patience
			began := time.Now()
			_, err := p.Process(t.Context(), Work{Once: c.once})
			if took := time.Since(began); fault.KindOf(err) != fault.Unavailable || took < c.from || took > c.to {
				t.Errorf("%+v: after %s: %v", c, took, err)
			}
		})
	}
}

// TestProgressRenewsPatience has a database that is away for 50 s out of 60.
func TestProgressRenewsPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t, 5, 48)
		began := time.Now()
		b.fail = func(string) error {
			if time.Since(began)%time.Minute < 50*time.Second {
				return fault.New(fault.Unavailable, "the database does not answer")
			}
			return nil
		}
		p := processor(b, slow(4*time.Second, one))
		p.Patience = time.Minute
		if _, err := p.Process(t.Context(), Work{Once: true}); err != nil || b.count(metering.Done) != 5*48 {
			t.Errorf("after %s: error %v, %d windows done", time.Since(began), err, b.count(metering.Done))
		}
	})
}

// TestTasksCannotAdvance has due windows done before the error is told.
func TestTasksCannotAdvance(t *testing.T) {
	b := newBook(t, 2, 2)
	p := processor(b, one)
	broken := errors.New("tasks have no such column")
	p.Tasks = &tasks{err: broken}
	if _, err := p.Process(t.Context(), Work{}); !errors.Is(err, broken) || b.count(metering.Done) != 4 {
		t.Errorf("error %v, %d windows done", err, b.count(metering.Done))
	}
	p.Tasks = &tasks{err: fault.New(fault.Unavailable, "the database does not answer")}
	if _, err := p.Process(t.Context(), Work{Once: true}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v", err)
	}
}
