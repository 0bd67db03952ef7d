package handlers

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// throttle lets each key try some times quickly, and then once in a while.
type throttle struct {
	burst int
	every time.Duration

	mu   sync.Mutex
	keys map[string]*rate.Limiter
}

// maxKeys bounds what strangers can make us remember.
const maxKeys = 10_000

func newThrottle(burst int, every time.Duration) *throttle {
	return &throttle{burst: burst, every: every, keys: map[string]*rate.Limiter{}}
}

// take counts a try. If it is one too many, it returns how long to wait for the next.
func (t *throttle) take(key string, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	l, ok := t.keys[key]
	if !ok {
		if len(t.keys) >= maxKeys {
			t.prune(now)
		}
		l = rate.NewLimiter(rate.Every(t.every), t.burst)
		t.keys[key] = l
	}
	r := l.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

// forget lets a key begin anew.
func (t *throttle) forget(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.keys, key)
}

// prune makes room: first of keys that have waited long enough, then of any.
func (t *throttle) prune(now time.Time) {
	for key, l := range t.keys {
		if l.TokensAt(now) >= float64(t.burst) {
			delete(t.keys, key)
		}
	}
	for key := range t.keys {
		if len(t.keys) <= maxKeys*9/10 {
			return
		}
		delete(t.keys, key)
	}
}

// network returns what one client can't easily leave: its address, or, in IPv6, the /64 it has to itself.
func network(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if a = a.Unmap(); a.Is6() {
		return netip.PrefixFrom(a.WithZone(""), 64).Masked().String()
	}
	return a.String()
}
