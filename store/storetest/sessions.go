package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"ratebook/store"
)

// sessionStore is scs's CtxStore.
type sessionStore interface {
	Delete(token string) error
	Find(token string) ([]byte, bool, error)
	Commit(token string, b []byte, expiry time.Time) error
	DeleteCtx(ctx context.Context, token string) error
	FindCtx(ctx context.Context, token string) ([]byte, bool, error)
	CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error
}

var sessionTests = []test{
	{"sessions/kept", func(e *env) {
		e.world(store.Wanted{})
		var s sessionStore = e.s.Sessions()
		find := func(token string) string {
			e.Helper()
			b, found, err := s.FindCtx(e.ctx, token)
			e.must(err)
			other, _, err := e.open().Sessions().Find(token) // by another process
			e.must(err)
			e.equal("found elsewhere", other, b)
			return fmt.Sprintf("%q %t", b, found)
		}
		e.equal("none", find("a"), `"" false`)
		e.must(s.CommitCtx(e.ctx, "a", []byte("\x00one\xff"), time.Now().Add(hour)))
		e.must(s.Commit("b", []byte("two"), time.Now().Add(hour)))
		e.equal("new", find("a"), `"\x00one\xff" true`)
		e.must(s.CommitCtx(e.ctx, "a", []byte{}, time.Now().Add(2*hour)))
		e.equal("changed", find("a"), `"" true`)
		e.must(s.DeleteCtx(e.ctx, "a"))
		e.must(s.DeleteCtx(e.ctx, "a"))
		e.equal("ended", find("a"), `"" false`)
		e.equal("another", find("b"), `"two" true`)
		e.must(s.Delete("b"))
		e.equal("left", e.count("SELECT count(*) FROM sessions"), 0)
	}},
	{"sessions/expire", func(e *env) {
		e.world(store.Wanted{})
		s := e.s.Sessions()
		for i := range 25 {
			e.must(s.CommitCtx(e.ctx, fmt.Sprint("kept", i), []byte("x"), time.Now().Add(hour)))
		}
		e.exec("UPDATE sessions SET expires_at = ?", e.time(time.Now().Add(-time.Minute).Truncate(time.Second)))
		for i := range 25 {
			if b, found, err := s.FindCtx(e.ctx, fmt.Sprint("kept", i)); err != nil || found || b != nil {
				e.Errorf("expired, but found: %v, %v", b, err)
			}
		}
		e.must(s.CommitCtx(e.ctx, "kept0", []byte("again"), time.Now().Add(hour)))
		if left := e.count("SELECT count(*) FROM sessions"); left < 15 || left > 16 {
			e.Errorf("%d sessions are left after one commit", left)
		}
		if b, found, err := s.FindCtx(e.ctx, "kept0"); err != nil || !found || string(b) != "again" {
			e.Errorf("%q, %t, %v", b, found, err)
		}
		for i := range 3 {
			e.must(s.CommitCtx(e.ctx, "kept0", []byte("x"), time.Now().Add(time.Duration(i+1)*hour)))
		}
		e.equal("left", e.rows("SELECT token FROM sessions"), []string{"kept0"})
	}},
	{"sessions/many at once", func(e *env) {
		e.world(store.Wanted{})
		stores := []*store.Store{e.s, e.open()}
		errs := make([]error, 8)
		var wait sync.WaitGroup
		for i := range errs {
			wait.Go(func() {
				s := stores[i%2].Sessions()
				for n := range 20 { // some expire at once, and some are of one token
					token, life := fmt.Sprint(n%5), time.Duration(n%3-1)*hour
					err := s.CommitCtx(e.ctx, token, []byte(token), time.Now().Add(life))
					b, found, errFind := s.FindCtx(e.ctx, token)
					errs[i] = errors.Join(errs[i], err, errFind)
					if found && string(b) != token {
						e.Errorf("found %q for %s", b, token)
					}
				}
			})
		}
		wait.Wait()
		e.must(errors.Join(errs...))
	}},
}
