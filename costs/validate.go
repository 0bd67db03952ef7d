package costs

import (
	"fmt"
	"slices"
	"time"

	"ratebook/fault"
	"ratebook/period"
)

// Validate says what is wrong with the query: nil, or a *fault.Error of kind Invalid whose fields are called begin, end,
// bucket, groups and filters. Several filters may have the same key.
func (q *Query) Validate() error {
	var fields []fault.Field
	wrong := func(name, format string, args ...any) {
		fields = append(fields, fault.Field{Name: name, Message: fmt.Sprintf(format, args...)})
	}

	for _, edge := range [...]struct {
		name string
		time time.Time
	}{{"begin", q.Range.Begin}, {"end", q.Range.End}} {
		switch year := edge.time.UTC().Year(); {
		case edge.time.IsZero():
			wrong(edge.name, "is missing")
		case year < 1 || year > 9998: // no zone leaves the years that RFC 3339 can write
			wrong(edge.name, "must be in the years 1 to 9998")
		case edge.time.Nanosecond() != 0:
			wrong(edge.name, "must be a whole second")
		}
	}
	if len(fields) == 0 && q.Range.Empty() {
		wrong("end", "must be after begin")
	}
	if q.Bucket > period.Month {
		wrong("bucket", "is unknown; use hour, day, week or month")
	} else if q.Windows && q.Bucket != period.Whole {
		wrong("bucket", "must be the whole range, as rows are asked by window")
	}

	var seen []key
	for _, g := range q.Groups {
		switch k := parseKey(g); {
		case k == key{}:
			wrong("groups", "a group has no name")
		case slices.Contains(seen, k):
			wrong("groups", "%q is there twice", g)
		default:
			seen = append(seen, k)
		}
	}
	for _, f := range q.Filters {
		switch k := parseKey(f.Key); {
		case k == key{}:
			wrong("filters", "a filter has no key")
		case len(f.Values) == 0:
			wrong("filters", "%q has no value to keep", f.Key)
		}
	}

	if fields == nil {
		return nil
	}
	err := fault.New(fault.Invalid, "The report can't be made as asked.")
	err.Fields = fields
	return err
}
