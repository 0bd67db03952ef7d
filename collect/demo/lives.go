package demo

import (
	"math"
	"time"
)

// Time is counted in hours since the epoch here, as the index of the hour that begins then.

func hourOf(t time.Time) int64 { return floorDiv(t.Unix(), 3600) }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

const (
	day  = 24
	week = 7 * day
)

// span is the hours [begin, end), the n-th of its sort.
type span struct{ begin, end, n int64 }

// always is the only season of a tenant without seasons.
var always = span{math.MinInt64, math.MaxInt64, 0}

// seasons come back every five weeks.
const seasonCycle = 5 * week

// seasons returns the tenant's seasons of which some hours are in [from, to).
func (t *tenant) seasons(from, to int64) []span {
	if t.season == 0 {
		return []span{always}
	}
	var all []span
	for n := floorDiv(from-t.seasonFrom, seasonCycle); ; n++ {
		begin := n*seasonCycle + t.seasonFrom
		if begin >= to {
			return all
		}
		if begin+t.season > from {
			all = append(all, span{begin, begin + t.season, n})
		}
	}
}

// life is the time from a thing's start to its end. Its seed tells it from others.
type life struct {
	begin, end int64
	seed       uint64
}

// lives returns the lives in [from, to) of the things that follow one another as this resource.
func (r *resource) lives(from, to int64) []life {
	var all []life
	for _, season := range r.tenant.seasons(from, to) {
		if r.cycle == 0 {
			all = append(all, life{season.begin, season.end, mix(r.key, season.n, 0)})
			continue
		}
		// cycles of different resources don't begin together, those of one season do
		phase := pick(r.key, r.cycle)
		if season != always {
			phase = -season.begin
		}
		for n := floorDiv(max(from, season.begin)+phase, r.cycle); n*r.cycle-phase < min(to, season.end); n++ {
			seed := mix(r.key, season.n, n)
			begin := n*r.cycle - phase
			end := begin + r.cycle
			if r.gaps { // up to a quarter of the time there is nothing between one and the next
				begin += pick(seed, r.cycle/8)
				end -= pick(seed>>20, r.cycle/8)
			}
			if end = min(end, season.end); max(begin, from) < min(end, to) {
				all = append(all, life{begin, end, seed})
			}
		}
	}
	return all
}
