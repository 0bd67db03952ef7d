package demo

// mix is a hash: well spread, and the same for the same arguments forever (the finalizer of splitmix64).
func mix(key uint64, parts ...int64) uint64 {
	for _, p := range parts {
		key += uint64(p)*0x9e3779b97f4a7c15 + 0x632be59bd9b4e019
		key = (key ^ key>>30) * 0xbf58476d1ce4e5b9
		key = (key ^ key>>27) * 0x94d049bb133111eb
		key ^= key >> 31
	}
	return key
}

// keyOf is the hash of a text (FNV-1a, mixed).
func keyOf(text string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 0x100000001b3
	}
	return mix(h, int64(len(text)))
}

// pick returns a number in [0, n) by the low half of a hash, 0 if there is none.
func pick(hash uint64, n int64) int64 {
	if n <= 0 {
		return 0
	}
	return int64(hash & 0xffffffff % uint64(n))
}

// The parts of a resource's hash that say different things about an hour or day.
const (
	ofStart int64 = 1 + iota
	ofStop
	ofBlock
	ofWeek
	ofHour
	ofNode
)

// rhythm is when an instance runs.
type rhythm uint8

const (
	steady  rhythm = iota // always
	office                // on working days
	nightly               // most nights
	bursty                // some hours, then not for some hours
	elastic               // the more of a fleet, the more there is to do
)

// runs reports whether the index-th of count instances runs in an hour. The key is the instance's, load its tenant's.
func (r rhythm) runs(key uint64, load int64, index, count int, hour int64) bool {
	switch r {
	case office:
		d, h := floorDiv(hour, day), hour-floorDiv(hour, day)*day
		return workday(d) && h >= 5+pick(mix(key, ofStart, d), 4) && h < 15+pick(mix(key, ofStop, d), 5)
	case nightly:
		d := floorDiv(hour-12, day) // from noon to noon
		h := hour - 12 - d*day
		return h >= 6+pick(mix(key, ofStart, d), 4) && h < 14+pick(mix(key, ofStop, d), 5) && mix(key, ofBlock, d)%100 < 85
	case bursty:
		length := 7 + pick(key, 23)
		return mix(key, ofBlock, floorDiv(hour, length))%100 < 45
	case elastic:
		return load*int64(count) >= int64(index)*1000
	case steady:
	}
	return true
}

// workday reports whether the d-th day since the epoch, which was a Thursday, is one from Monday to Friday.
func workday(d int64) bool { return weekday(d) < 5 }

// weekday counts from Monday, 0.
func weekday(d int64) int64 { return d + 3 - floorDiv(d+3, 7)*7 }

// curve is how much there is to do, in thousandths of the most, by the hour of the day (UTC) and the day of the week.
type curve struct {
	hours [24]int64
	days  [7]int64 // from Monday
}

var (
	// working is the curve of those who work by day.
	working = curve{
		hours: [24]int64{190, 160, 150, 150, 170, 260, 450, 700, 880, 960, 1000, 980, 900, 960, 980, 900, 760, 580, 460, 400, 360, 310, 260, 220},
		days:  [7]int64{960, 1000, 990, 970, 850, 380, 340},
	}
	// studying is the curve of those who learn and read, in the evening and on Sundays, too.
	studying = curve{
		hours: [24]int64{330, 220, 150, 110, 100, 130, 240, 430, 580, 660, 700, 680, 640, 690, 740, 760, 780, 850, 950, 1000, 980, 860, 690, 500},
		days:  [7]int64{1000, 980, 950, 900, 720, 560, 820},
	}
	// measuring is the curve of machines, which are used day and night, weekends included.
	measuring = curve{
		hours: [24]int64{820, 800, 790, 780, 790, 810, 850, 900, 940, 970, 990, 1000, 980, 990, 1000, 990, 970, 950, 930, 910, 890, 870, 850, 830},
		days:  [7]int64{960, 1000, 1000, 990, 970, 880, 860},
	}
)

// at returns how much there is to do for one with this key in an hour, in thousandths: some weeks and hours are busier.
func (c *curve) at(key uint64, hour int64) int64 {
	d := floorDiv(hour, day)
	load := c.hours[hour-d*day] * c.days[weekday(d)] / 1000
	load = load * (850 + pick(mix(key, ofWeek, floorDiv(d+3, 7)), 151)) / 1000
	return load * (900 + pick(mix(key, ofHour, hour), 201)) / 1000
}

// nodes returns how many of at most peak nodes batch jobs with this key use in an hour: a base that is always there, and
// jobs of several sizes that begin and end at hours of their own.
func nodes(key uint64, peak, hour int64) int64 {
	n := max(1, peak/16)
	for i, length := range [...]int64{5, 9, 17, 38} {
		job := mix(key, ofNode, int64(i), floorDiv(hour+pick(key>>i, length), length))
		if job%100 < 30 {
			n += pick(job>>7, peak/2+1)
		}
	}
	if workday(floorDiv(hour, day)) { // what is submitted by day is short
		n += pick(mix(key, ofHour, hour), 1+peak*working.hours[hour-floorDiv(hour, day)*day]/8000)
	}
	return min(n, peak)
}
