package demo

import (
	"cmp"
	"fmt"
	"strconv"

	"ratebook/metering"
)

// What is measured, as metrics.yml calls it.
const (
	measuredInstance = "demo_instance_up"
	measuredGPU      = "demo_instance_gpus"
	measuredTraffic  = "demo_traffic_out_bytes"
	measuredVolume   = "demo_volume_bytes"
	measuredIP       = "demo_floating_ip"
	measuredObjects  = "demo_object_bytes"
	measuredCores    = "demo_batch_cores"
)

// resource is one thing after another of the same sort, and one measure of it.
type resource struct {
	tenant   *tenant
	measured string
	key      uint64
	cycle    int64 // hours from one thing to the next; 0: it stays
	gaps     bool  // whether the next one comes later than the last one goes
	labels   func(l life) metering.Attributes
	value    func(l life, hour int64) (int64, bool) // false: there is no sample
}

// build returns all that the tenant's catalogue comes to.
func (t *tenant) build() []resource {
	var all []resource
	load := keyOf(t.id)
	for i := range t.fleets {
		for n := range t.fleets[i].count {
			all = append(all, t.instance(&t.fleets[i], n, load)...)
		}
	}
	for i := range t.buckets {
		all = append(all, t.bucket(&t.buckets[i]))
	}
	for i := range t.partitions {
		all = append(all, t.partition(&t.partitions[i]))
	}
	return all
}

func (t *tenant) key(sort string, names ...string) uint64 {
	text := t.id + " " + sort
	for _, n := range names {
		text += " " + n
	}
	return keyOf(text)
}

// instance returns the n-th instance of a fleet, with what comes with it.
func (t *tenant) instance(f *fleet, n int, load uint64) []resource {
	number := strconv.Itoa(n + 1)
	region := cmp.Or(f.region, "eu-central")
	key := t.key("instance", f.name, number)
	runs := func(_ life, hour int64) bool {
		return f.rhythm.runs(key, t.curve.at(load, hour), n, f.count, hour)
	}
	// with adds what a measure of the instance tells besides who it is.
	with := func(extra ...metering.Attribute) func(life) metering.Attributes {
		return func(l life) metering.Attributes {
			name := f.name + "-" + number
			if f.days > 0 {
				name += fmt.Sprintf("-%04x", l.seed&0xffff)
			}
			return attributes(append(extra[:len(extra):len(extra)], metering.Attribute{Name: "id", Value: uuid(l.seed)},
				metering.Attribute{Name: "name", Value: name}, metering.Attribute{Name: "project", Value: f.project},
				metering.Attribute{Name: "region", Value: region}))
		}
	}
	environment := "production"
	if f.test {
		environment = "test"
	}
	base := resource{tenant: t, key: key, cycle: f.days * day, gaps: true}
	// gauge is a measure that is the same whenever the instance runs.
	gauge := func(measured string, value int64, extra ...metering.Attribute) resource {
		r := base
		r.measured, r.labels = measured, with(extra...)
		r.value = func(l life, hour int64) (int64, bool) { return value, runs(l, hour) }
		return r
	}
	all := []resource{gauge(measuredInstance, 1, metering.Attribute{Name: "flavor", Value: f.flavor},
		metering.Attribute{Name: "image", Value: cmp.Or(f.image, "debian-13")}, metering.Attribute{Name: "environment", Value: environment})}
	if f.gpus > 0 {
		all = append(all, gauge(measuredGPU, f.gpus, metering.Attribute{Name: "model", Value: f.model}))
	}
	traffic := func(network string, megabytes int64) {
		if megabytes == 0 {
			return
		}
		r := base
		r.measured, r.labels = measuredTraffic, with(metering.Attribute{Name: "network", Value: network})
		own := keyOf(network) ^ key
		r.value = func(l life, hour int64) (int64, bool) {
			if !runs(l, hour) {
				return 0, false
			}
			noise := mix(own, hour)
			return megabytes*t.curve.at(load, hour)*(800+pick(noise, 401)) + int64(noise>>48), true
		}
		all = append(all, r)
	}
	traffic("internet", f.traffic)
	traffic("research", f.research)
	if f.ssd > 0 {
		all = append(all, t.volume(f, number, region, "ssd", f.ssd))
	}
	if f.hdd > 0 {
		all = append(all, t.volume(f, number, region, "hdd", f.hdd))
	}
	if f.ip {
		all = append(all, t.address(f, number, region))
	}
	return all
}

// volume is an instance's; it stays when the instance is replaced, and is itself replaced by an emptied one some day.
func (t *tenant) volume(f *fleet, number, region, kind string, size int64) resource {
	key := t.key("volume", kind, f.name, number)
	return resource{
		tenant: t, measured: measuredVolume, key: key, cycle: (120 + pick(key, 160)) * day,
		labels: func(l life) metering.Attributes {
			return attributes(metering.Attributes{
				{Name: "id", Value: uuid(l.seed)},
				{Name: "name", Value: f.name + "-" + number + "-data"},
				{Name: "project", Value: f.project},
				{Name: "region", Value: region},
				{Name: "type", Value: kind},
			})
		},
		value: func(l life, hour int64) (int64, bool) {
			step := max(8, size/20) // as they are enlarged
			return (size + f.growth*((hour-l.begin)/day)/step*step) << 30, true
		},
	}
}

// address is an instance's floating IP, of those reserved for documentation; it stays when the instance is replaced.
func (t *tenant) address(f *fleet, number, region string) resource {
	key := t.key("ip", f.name, number)
	nets := [...]string{"192.0.2.", "198.51.100.", "203.0.113."}
	return resource{
		tenant: t, measured: measuredIP, key: key,
		labels: func(l life) metering.Attributes {
			return attributes(metering.Attributes{
				{Name: "id", Value: uuid(l.seed)},
				{Name: "name", Value: nets[key>>40%3] + strconv.FormatInt(1+pick(key, 254), 10)},
				{Name: "project", Value: f.project},
				{Name: "region", Value: region},
			})
		},
		value: func(life, int64) (int64, bool) { return 1, true },
	}
}

// bucket stays; what it holds is cleared once in a while.
func (t *tenant) bucket(b *bucket) resource {
	key := t.key("bucket", b.name)
	return resource{
		tenant: t, measured: measuredObjects, key: key, cycle: (90 + pick(key, 90)) * day,
		labels: func(life) metering.Attributes {
			return attributes(metering.Attributes{
				{Name: "id", Value: uuid(key)},
				{Name: "name", Value: b.name},
				{Name: "project", Value: b.project},
				{Name: "region", Value: cmp.Or(b.region, "eu-central")},
				{Name: "class", Value: b.class},
			})
		},
		value: func(l life, hour int64) (int64, bool) {
			grown := b.growth << 20 * (hour - l.begin) / day << 10
			return b.size<<30 + grown + b.growth*pick(mix(key, hour), 1<<24), true
		},
	}
}

// partition has the cores that a project's jobs use in a part of the batch system.
func (t *tenant) partition(p *partition) resource {
	const cores = 32 // a node
	key := t.key("partition", p.name, p.project)
	return resource{
		tenant: t, measured: measuredCores, key: key,
		labels: func(life) metering.Attributes {
			return attributes(metering.Attributes{
				{Name: "partition", Value: p.name}, {Name: "project", Value: p.project}, {Name: "region", Value: "eu-central"},
			})
		},
		value: func(_ life, hour int64) (int64, bool) { return cores * nodes(key, p.nodes, hour), true },
	}
}

func attributes(as metering.Attributes) metering.Attributes {
	as.Sort()
	return as
}

// uuid writes a hash as a random UUID is written.
func uuid(seed uint64) string {
	a, b := mix(seed, 1), mix(seed, 2)
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", a>>32, a>>16&0xffff, a&0xfff, 0x8000|b>>48&0x3fff, b&0xffffffffffff)
}
