package handlers

import (
	"cmp"
	"net/netip"
	"slices"
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

// prune makes room: of keys that have waited long enough, and then of those that have the most tries left. Nobody can so
// free a key that is held up by using many others.
func (t *throttle) prune(now time.Time) {
	type left struct {
		key    string
		tokens float64
	}
	var used []left
	for key, l := range t.keys {
		if tokens := l.TokensAt(now); tokens < float64(t.burst) {
			used = append(used, left{key, tokens})
		} else {
			delete(t.keys, key)
		}
	}
	slices.SortFunc(used, func(a, b left) int { return cmp.Compare(b.tokens, a.tokens) })
	for _, u := range used[:max(0, len(used)-maxKeys*9/10)] {
		delete(t.keys, u.key)
	}
}

// tries bounds how fast passwords can be guessed. A network has few tries for one login, and some more for all of them. All
// networks together have many for a login: nobody should keep its owner out by failing in its name.
type tries struct{ networks, logins, pairs *throttle }

func newTries() tries {
	return tries{networks: newThrottle(20, 3*time.Second), pairs: newThrottle(5, 10*time.Second), logins: newThrottle(100, time.Second)}
}

// take counts a try. If it is one too many, it returns how long to wait for the next. A try that is refused for one reason
// does not count for the next.
func (t *tries) take(login, network string, now time.Time) time.Duration {
	if wait := t.networks.take(network, now); wait > 0 {
		return wait
	}
	if wait := t.pairs.take(pair(login, network), now); wait > 0 {
		return wait
	}
	return t.logins.take(login, now)
}

// succeeded lets a login begin anew where its password was known.
func (t *tries) succeeded(login, network string) { t.pairs.forget(pair(login, network)) }

func pair(login, network string) string { return login + " " + network } // no login has a space

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
