package costs

import (
	"time"

	"ratebook/period"
)

// Level is how fine stored sums are, in time.
type Level uint8

const (
	Charges Level = iota // single charges: nothing is summed
	Days                 // sums per billing day
	Months               // sums per billing month
)

// bucket is the calendar unit that a level's sums stand for.
func (l Level) bucket() period.Bucket {
	if l == Months {
		return period.Month
	}
	return period.Day
}

// Segment is a part of a query's range, and the coarsest stored sums that answer it.
type Segment struct {
	Level     Level
	PerSeries bool // whether attributes matter; else sums per scope, metric and unit are enough
	Range     period.Range
}

// Segments splits the query's range into adjacent segments, in the order of time. There are at most five: months in the
// middle, days around them, and charges where an edge cuts a day. The query must be valid.
func (q *Query) Segments(zone *time.Location) []Segment {
	level, perSeries := q.coarsest()
	var segments []Segment
	var split func(r period.Range, level Level)
	split = func(r period.Range, level Level) {
		if r.Empty() {
			return
		}
		if level == Charges {
			segments = append(segments, Segment{Charges, perSeries, r})
			return
		}
		whole := within(r, level.bucket(), zone)
		if whole.Empty() {
			split(r, level-1)
			return
		}
		split(period.Range{Begin: r.Begin, End: whole.Begin}, level-1)
		segments = append(segments, Segment{level, perSeries, whole})
		split(period.Range{Begin: whole.End, End: r.End}, level-1)
	}
	split(q.Range, level)
	return segments
}

// coarsest returns the coarsest level that keeps apart what the query asks apart.
func (q *Query) coarsest() (level Level, perSeries bool) {
	switch q.Bucket {
	case period.Hour:
		level = Charges
	case period.Day, period.Week:
		level = Days
	default:
		level = Months
	}
	if q.Windows || q.Extremes {
		level = Charges
	}
	for _, k := range q.keys() {
		if k.attribute == "" {
			continue
		}
		// computed attributes too: a series may carry an attribute of that name, which then counts instead
		perSeries = true
		switch k.attribute {
		case "week_of_the_year", "day_of_the_year":
			level = min(level, Days)
		}
	}
	return level, perSeries
}

// within returns the run of whole buckets inside r; it may be empty.
func within(r period.Range, bucket period.Bucket, zone *time.Location) period.Range {
	whole := period.Range{Begin: bucket.Start(r.Begin, zone), End: bucket.Start(r.End, zone)}
	if whole.Begin.Before(r.Begin) {
		whole.Begin = bucket.Next(r.Begin, zone)
	}
	return whole
}
