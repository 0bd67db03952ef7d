package handlers

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"ratebook/costs"
	"ratebook/fault"
	"ratebook/period"
)

// costsQuestion is what a cost report's address asks. The address is all its state, and each question has one: defaults are
// left out.
type costsQuestion struct {
	zone    *time.Location
	preset  string       // one of costsPresets; empty: the range stays where it is
	span    period.Range // selects charges by their begin
	groups  []string     // at most costsGroups, as costsKey writes them
	bucket  period.Bucket
	divided bool // whether the address itself names the bucket
	filters []costs.Filter
	sort    string // one of costsSorts, with - before it for the greatest first
	page    int    // from 1
}

// What a question asks unless it says otherwise.
const (
	costsDefaultPreset = "this-month"
	costsDefaultSort   = "-cost"
)

const (
	costsGroups  = 2      // the most to group by
	costsNothing = "none" // as a group or bucket: not at all
)

// costsPresets are the ranges that move with time. All end with today.
var costsPresets = []struct {
	name, label string
	first       func(today time.Time) time.Time // civil day
	last        func(today time.Time) time.Time // nil: today
}{
	{costsDefaultPreset, "This month", firstOfMonth, nil},
	{"last-month", "Last month", func(t time.Time) time.Time { return firstOfMonth(t).AddDate(0, -1, 0) }, func(t time.Time) time.Time { return firstOfMonth(t).AddDate(0, 0, -1) }},
	{"last-7-days", "Last 7 days", func(t time.Time) time.Time { return t.AddDate(0, 0, -6) }, nil},
	{"last-30-days", "Last 30 days", func(t time.Time) time.Time { return t.AddDate(0, 0, -29) }, nil},
	{"this-year", "This year", func(t time.Time) time.Time { return t.AddDate(0, 0, 1-t.YearDay()) }, nil},
	{"last-12-months", "Last 12 months", func(t time.Time) time.Time { return firstOfMonth(t).AddDate(0, -11, 0) }, nil},
}

func firstOfMonth(day time.Time) time.Time { return day.AddDate(0, 0, 1-day.Day()) }

// costsSorts are what rows can be sorted by; name2 is the second group's.
var costsSorts = []string{"name", "name2", "cost", "qty", "points"}

// parseCosts reads a question. What is wrong is said by parameter, with the default in its place. Other names than its own
// are wrong too, unless they are among the others given: a misspelt filter would be left out of the sums unseen.
func parseCosts(v url.Values, zone *time.Location, now time.Time, others ...string) (*costsQuestion, []fault.Field) {
	p := &costsParser{values: v, costsQuestion: costsQuestion{zone: zone}}
	known := append([]string{"range", "from", "to", "begin", "end", "group", "bucket", "filter", "sort", "page"}, others...)
	for _, name := range sortedKeys(v) {
		switch {
		case !slices.Contains(known, name):
			p.wrong(name, "is no part of a cost report's address; take it out")
		case name != "group" && name != "filter" && len(v[name]) > 1:
			p.wrong(name, "is there %d times", len(v[name]))
		}
	}
	p.readRange(now)
	p.readGroups()
	p.readBucket()
	p.readFilters()
	p.readSort()
	p.readPage()
	return &p.costsQuestion, p.fields
}

func sortedKeys(v url.Values) []string {
	var names []string
	for name := range v {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// costsParser is a question while it is read.
type costsParser struct {
	costsQuestion
	values url.Values
	fields []fault.Field
}

func (p *costsParser) wrong(name, format string, args ...any) {
	p.fields = append(p.fields, fault.Field{Name: name, Message: fmt.Sprintf(format, args...)})
}

// readRange reads the range. A preset goes before days: the form sends both.
func (p *costsParser) readRange(now time.Time) {
	v := p.values
	p.preset = costsDefaultPreset
	p.span = presetRange(p.preset, now, p.zone)
	switch name := v.Get("range"); {
	case name != "":
		if r := presetRange(name, now, p.zone); !r.Empty() {
			p.preset, p.span = name, r
		} else {
			p.wrong("range", "%q is no range; use one of those listed, or from and to", name)
		}
	case v.Get("from") != "" || v.Get("to") != "":
		if v.Get("begin") != "" || v.Get("end") != "" {
			p.wrong("begin", "is there besides from and to; use either")
		}
		p.readSpan("from", "to", func(name string) (time.Time, error) {
			day, err := time.Parse(time.DateOnly, v.Get(name))
			if err != nil {
				return time.Time{}, fmt.Errorf("%q is no day; write it like 2026-11-21", v.Get(name))
			}
			if name == "to" {
				day = day.AddDate(0, 0, 1)
			}
			return period.StartOf(day, p.zone), nil
		}, "must not be before the first day")
	case v.Get("begin") != "" || v.Get("end") != "":
		p.readSpan("begin", "end", func(name string) (time.Time, error) {
			return period.ParseTime(v.Get(name), p.zone)
		}, "must be after begin")
	}
}

func (p *costsParser) readSpan(first, last string, read func(name string) (time.Time, error), disorder string) {
	before := len(p.fields)
	edge := func(name string) time.Time {
		if p.values.Get(name) == "" {
			p.wrong(name, "is missing")
			return time.Time{}
		}
		t, err := read(name)
		if err != nil {
			p.wrong(name, "%v", err)
		}
		return t
	}
	r := period.Range{Begin: edge(first), End: edge(last)}
	if len(p.fields) == before && r.Empty() {
		p.wrong(last, "%s", disorder)
	}
	if len(p.fields) == before {
		for _, f := range invalid(&costs.Query{Range: r}) {
			p.wrong(map[string]string{"begin": first, "end": last}[f.Name], "%s", f.Message)
		}
	}
	if len(p.fields) == before {
		p.preset, p.span = "", r
	}
}

// invalid returns what is wrong with a query.
func invalid(q *costs.Query) []fault.Field {
	if err, ok := errors.AsType[*fault.Error](q.Validate()); ok {
		return err.Fields
	}
	return nil
}

// presetRange returns the range that a preset means now; an empty one if there is no such preset.
func presetRange(name string, now time.Time, zone *time.Location) period.Range {
	today := period.Date(now, zone)
	for _, p := range costsPresets {
		if p.name == name {
			last := today
			if p.last != nil {
				last = p.last(today)
			}
			return period.Range{Begin: period.StartOf(p.first(today), zone), End: period.StartOf(last.AddDate(0, 0, 1), zone)}
		}
	}
	return period.Range{}
}

// costsKey returns the one way to write a group's or filter's key, of which an attribute has two.
func costsKey(key string) string {
	name, prefixed := strings.CutPrefix(key, costs.AttributePrefix)
	switch name {
	case costs.Scope, costs.ScopeName, costs.Metric, costs.Unit, costsNothing:
		return key
	}
	if prefixed && name != "" && !strings.HasPrefix(name, costs.AttributePrefix) {
		return name
	}
	return key
}

func (p *costsParser) readGroups() {
	nothing := false
	if message := tooMuch(p.values["group"]); message != "" {
		p.wrong("group", "%s", message)
		p.groups = []string{costs.Scope}
		return
	}
	for _, g := range p.values["group"] {
		switch g = costsKey(g); {
		case g == costsNothing:
			nothing = true
		case g == costs.AttributePrefix:
			p.wrong("group", "%q names no attribute", g)
		case overlong(g):
			p.wrong("group", "%q has more than %d characters", clipped(g), mostText)
		case g != "" && !slices.Contains(p.groups, g): // the form sends what is left open, and may send one twice
			p.groups = append(p.groups, g)
		}
	}
	if len(p.groups) > costsGroups {
		p.wrong("group", "there are %d; a report has up to two", len(p.groups))
		p.groups = p.groups[:costsGroups]
	}
	if len(p.groups) == 0 && !nothing {
		p.groups = []string{costs.Scope}
	}
}

func (p *costsParser) readBucket() {
	p.bucket = costsBucket(p.span)
	switch name := p.values.Get("bucket"); name {
	case "":
	case costsNothing:
		p.bucket, p.divided = period.Whole, true
	default:
		b, err := period.ParseBucket(name)
		if err != nil {
			p.wrong("bucket", "%q is unknown; use hour, day, week, month or none", name)
			return
		}
		p.bucket, p.divided = b, true
	}
}

// costsBucket returns what a range is divided into unless the question says: about as many bars as a chart draws well.
func costsBucket(r period.Range) period.Bucket {
	const day = 24 * time.Hour
	switch d := r.End.Sub(r.Begin); { // a day may have an hour more
	case d <= 2*day+time.Hour:
		return period.Hour
	case d <= 93*day+time.Hour:
		return period.Day
	default:
		return period.Month
	}
}

// mostFilters is how many values all filters have at most: more than anybody clicks together, too few to be a burden.
const mostFilters = 200

// How long what an address says may be: every link of the page has all of it. Keys and values of usage are shorter.
const (
	mostText  = 255   // characters of a key, and of a value
	mostTexts = 4_000 // bytes of all filters, and of all groups
)

// overlong reports whether a key or value is.
func overlong(text string) bool { return utf8.RuneCountInString(text) > mostText }

// tooMuch says what is wrong with the number and length of all filters, or groups, together; empty: nothing.
func tooMuch(texts []string) string {
	bytes := 0
	for _, text := range texts {
		bytes += len(text)
	}
	switch {
	case len(texts) > mostFilters:
		return fmt.Sprintf("there are %d; a report has up to %d", len(texts), mostFilters)
	case bytes > mostTexts:
		return fmt.Sprintf("they have %d bytes together; a report has up to %d", bytes, mostTexts)
	}
	return ""
}

// clipped returns the begin of a text that is too long to be repeated.
func clipped(text string) string {
	const most = 60
	if letters := []rune(text); len(letters) > most {
		return string(letters[:most]) + "…"
	}
	return text
}

// sayable reports whether an address can say a filter: its key ends at the first =.
func sayable(key, value string) bool {
	return !strings.Contains(key, "=") && !overlong(key) && !overlong(value)
}

func (p *costsParser) readFilters() {
	if message := tooMuch(p.values["filter"]); message != "" {
		p.wrong("filter", "%s", message)
		return
	}
	for _, f := range p.values["filter"] {
		key, value, ok := strings.Cut(f, "=")
		if key = costsKey(key); f == "" {
			continue
		} else if !ok || key == "" || key == costs.AttributePrefix {
			p.wrong("filter", "%q is no filter; write it as key=value", clipped(f))
			continue
		} else if overlong(key) || overlong(value) {
			p.wrong("filter", "%q has a key or value of more than %d characters", clipped(f), mostText)
			continue
		}
		p.filters = withFilter(p.filters, key, value)
	}
}

// withFilter returns filters that also keep, of a key, a value. It leaves those given as they are.
func withFilter(filters []costs.Filter, key, value string) []costs.Filter {
	filters = slices.Clone(filters)
	i := slices.IndexFunc(filters, func(f costs.Filter) bool { return f.Key == key })
	switch {
	case i < 0:
		filters = append(filters, costs.Filter{Key: key, Values: []string{value}})
	case !slices.Contains(filters[i].Values, value):
		filters[i].Values = append(slices.Clone(filters[i].Values), value)
	}
	return filters
}

// withoutFilter returns filters without a value of a key.
func withoutFilter(filters []costs.Filter, key, value string) []costs.Filter {
	var left []costs.Filter
	for _, f := range filters {
		if f.Key == key {
			f.Values = slices.DeleteFunc(slices.Clone(f.Values), func(v string) bool { return v == value })
		}
		if len(f.Values) > 0 {
			left = append(left, f)
		}
	}
	return left
}

// onlyFilter returns filters that keep, of a key, one value alone.
func onlyFilter(filters []costs.Filter, key, value string) []costs.Filter {
	filters = slices.Clone(filters)
	if i := slices.IndexFunc(filters, func(f costs.Filter) bool { return f.Key == key }); i >= 0 {
		filters[i].Values = []string{value}
		return filters
	}
	return append(filters, costs.Filter{Key: key, Values: []string{value}})
}

func (p *costsParser) readSort() {
	p.sort = cmp.Or(p.values.Get("sort"), costsDefaultSort)
	if by := strings.TrimPrefix(p.sort, "-"); !slices.Contains(costsSorts, by) {
		p.wrong("sort", "%q is unknown; use %s, or one of these after a -", p.sort, strings.Join(costsSorts, ", "))
		p.sort = costsDefaultSort
	} else if by == "name" && len(p.groups) == 0 || by == "name2" && len(p.groups) < 2 { // of a group that is no longer there
		p.sort = costsDefaultSort
	}
}

func (p *costsParser) readPage() {
	p.page = 1
	text := p.values.Get("page")
	if text == "" {
		return
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		p.wrong("page", "%q is no page; pages count from 1", text)
		return
	}
	p.page = n
}

// values returns the parameters that ask this question, without those that say what is so anyway.
func (q *costsQuestion) values() url.Values {
	v := url.Values{}
	if q.preset == "" {
		q.setRange(v)
	} else if q.preset != costsDefaultPreset {
		v.Set("range", q.preset)
	}
	switch {
	case len(q.groups) == 0:
		v.Set("group", costsNothing)
	case !slices.Equal(q.groups, []string{costs.Scope}):
		v["group"] = q.groups
	}
	if q.divided && q.bucket != costsBucket(q.span) {
		v.Set("bucket", cmp.Or(q.bucket.String(), costsNothing))
	}
	for _, f := range q.filters {
		for _, value := range f.Values {
			v.Add("filter", f.Key+"="+value)
		}
	}
	if q.sort != costsDefaultSort {
		v.Set("sort", q.sort)
	}
	if q.page > 1 {
		v.Set("page", strconv.Itoa(q.page))
	}
	return v
}

// setRange writes a range that stays where it is: as days, as people say it, if it has whole ones.
func (q *costsQuestion) setRange(v url.Values) {
	if first, last, ok := q.days(); ok {
		v.Set("from", first.Format(time.DateOnly))
		v.Set("to", last.Format(time.DateOnly))
		return
	}
	v.Set("begin", q.span.Begin.UTC().Format(time.RFC3339))
	v.Set("end", q.span.End.UTC().Format(time.RFC3339))
}

// days returns the first and last civil day of the range, and whether it is made of whole ones.
func (q *costsQuestion) days() (first, last time.Time, whole bool) {
	first, last = period.Date(q.span.Begin, q.zone), period.Date(q.span.End.Add(-time.Second), q.zone)
	whole = period.StartOf(first, q.zone).Equal(q.span.Begin) && period.StartOf(last.AddDate(0, 0, 1), q.zone).Equal(q.span.End)
	return first, last, whole
}

// path returns the address of the question.
func (q *costsQuestion) path() string { return costsPath("/costs", q.values()) }

func costsPath(path string, v url.Values) string {
	if len(v) == 0 {
		return path
	}
	return path + "?" + v.Encode()
}

// but returns the question with something changed, from its first page.
func (q *costsQuestion) but(change func(q *costsQuestion)) *costsQuestion {
	other := *q
	other.page = 1
	change(&other)
	return &other
}

// within returns the question about a part of its range, divided more finely.
func (q *costsQuestion) within(r period.Range) *costsQuestion {
	return q.but(func(q *costsQuestion) {
		finer := map[period.Bucket]period.Bucket{period.Month: period.Day, period.Week: period.Day, period.Day: period.Hour}
		q.preset, q.span = "", r
		q.bucket, q.divided = finer[q.bucket], true
	})
}

// export returns the question as a file answers it: all rows in their own order, in buckets only where asked for.
func (q *costsQuestion) export(path string, bucket period.Bucket) string {
	v := q.values()
	v.Del("sort")
	v.Del("page")
	v.Del("bucket")
	if bucket != period.Whole {
		v.Set("bucket", bucket.String())
	}
	return costsPath(path, v)
}
