package rating

import (
	"sync"

	"ratebook/metering"
)

// A cache holds at most two generations of this many plans in all, a few hundred bytes each.
const (
	cacheShards     = 16
	cacheGeneration = 1 << 16
)

// cache keeps the plans used lately. It has two generations: when the young one is full it becomes the old one, and what
// is still asked for moves back.
type cache [cacheShards]shard

type shard struct {
	mu         sync.Mutex
	young, old map[metering.Fingerprint]*Plan
}

func (c *cache) shard(fp metering.Fingerprint) *shard { return &c[fp[0]%cacheShards] }

// get returns the plan put last for the series, or nil.
func (c *cache) get(fp metering.Fingerprint) *Plan {
	s := c.shard(fp)
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.young[fp]; p != nil {
		return p
	}
	p := s.old[fp]
	if p != nil {
		s.add(fp, p)
	}
	return p
}

func (c *cache) put(fp metering.Fingerprint, p *Plan) {
	s := c.shard(fp)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(fp, p)
}

func (s *shard) add(fp metering.Fingerprint, p *Plan) {
	if s.young == nil || len(s.young) >= cacheGeneration/cacheShards {
		s.young, s.old = make(map[metering.Fingerprint]*Plan), s.young
	}
	s.young[fp] = p
}
