package cloudkitty

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"time"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
)

// pageSize is how much is asked for at once. Some storage backends give no more.
const pageSize = 5000

// Scope is how far CloudKitty has processed a scope.
type Scope struct {
	ID, Key, Collector, Fetcher string
	LastProcessed               time.Time // begin of the last period
	Active                      bool
}

// Scopes lists the scopes by id. A scope that several collectors or fetchers had is there once: as the active state has it, and
// of several the one that got furthest; others counts those that were left out.
func (c *Client) Scopes(ctx context.Context) (all []Scope, others int, err error) {
	type key struct{ id, key string }
	best := map[key]Scope{}
	seen := map[Scope]bool{}
	for offset := 0; ; offset += pageSize {
		var answer struct {
			Results []struct {
				ID            string `json:"scope_id"`
				Key           text   `json:"scope_key"`
				Collector     text   `json:"collector"`
				Fetcher       text   `json:"fetcher"`
				LastProcessed moment `json:"last_processed_timestamp"`
				State         moment `json:"state"` // what older servers call it
				Active        *bool  `json:"active"`
			}
		}
		err := c.get(ctx, "/v2/scope", page(offset), &answer)
		if fault.KindOf(err) == fault.NotFound { // there are none, or no more
			break
		}
		if err != nil {
			return nil, 0, err
		}
		for _, r := range answer.Results {
			s := Scope{r.ID, string(r.Key), string(r.Collector), string(r.Fetcher), r.LastProcessed.Time, r.Active == nil || *r.Active}
			if s.LastProcessed.IsZero() {
				s.LastProcessed = r.State.Time
			}
			if seen[s] {
				continue
			}
			seen[s] = true
			k := key{s.ID, s.Key}
			have, ok := best[k]
			if ok {
				others++
			}
			if !ok || s.Active && !have.Active || s.Active == have.Active && s.LastProcessed.After(have.LastProcessed) {
				best[k] = s
			}
		}
		if len(answer.Results) < pageSize {
			break
		}
	}
	all = slices.Collect(maps.Values(best))
	slices.SortFunc(all, func(a, b Scope) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Key, b.Key)) })
	return all, others, nil
}

func page(offset int) url.Values {
	return url.Values{"limit": {strconv.Itoa(pageSize)}, "offset": {strconv.Itoa(offset)}}
}

// within adds a range to a query. Version 1 takes times without an offset for UTC.
func within(q url.Values, r period.Range, v2 bool) url.Values {
	layout := "2006-01-02T15:04:05"
	if v2 {
		layout += "Z"
	}
	q.Set("begin", r.Begin.UTC().Format(layout))
	q.Set("end", r.End.UTC().Format(layout))
	return q
}

// pointJSON is a data point of a frame.
type pointJSON struct {
	Vol struct {
		Unit text   `json:"unit"`
		Qty  number `json:"qty"`
	} `json:"vol"`
	Rating struct {
		Price number `json:"price"`
	} `json:"rating"`
	Groupby  map[string]json.RawMessage `json:"groupby"`
	Metadata map[string]json.RawMessage `json:"metadata"`
}

// Frames returns the rated data frames that begin in a range, in the form in which Ratebook stores them; outside counts the points
// that came although they begin elsewhere. The range should be short: what is one page can't be told from what changed meanwhile.
// Some servers count points in pages, some frames, and all the points in total.
func (c *Client) Frames(ctx context.Context, r period.Range, scopeKey string) (frames []metering.PushedFrame, outside int, err error) {
	const path = "/v2/dataframes"
	got := 0
	for offset := 0; ; {
		var answer struct {
			Total  int
			Frames []struct {
				Period struct{ Begin, End moment }
				Usage  map[string][]pointJSON
			} `json:"dataframes"`
		}
		err := c.get(ctx, path, within(page(offset), r, true), &answer)
		if fault.KindOf(err) == fault.NotFound && got == 0 {
			return nil, 0, nil
		}
		if err != nil {
			return nil, 0, err
		}
		points := 0
		for _, f := range answer.Frames {
			frame := metering.PushedFrame{Begin: f.Period.Begin.Truncate(time.Second), End: f.Period.End.Truncate(time.Second)}
			for _, metric := range slices.Sorted(maps.Keys(f.Usage)) {
				for i := range f.Usage[metric] {
					p, err := pushed(metric, &f.Usage[metric][i], scopeKey)
					if err != nil {
						return nil, 0, fault.New(fault.Unavailable, "CloudKitty at %s, GET %s: a point of %s from %s: %v", c.base, path, excerpt(metric), stamp(frame.Begin), err)
					}
					frame.Points = append(frame.Points, p)
				}
				points += len(f.Usage[metric])
			}
			if r.Contains(frame.Begin) {
				frames = append(frames, frame)
			} else {
				outside += len(frame.Points)
			}
		}
		got += points
		switch {
		case got == answer.Total:
			return frames, outside, nil
		case got > answer.Total || points == 0:
			return nil, 0, fault.New(fault.Unavailable, "CloudKitty at %s, GET %s: %d points from %s to %s were promised, but %d came; it may be processing this time just now",
				c.base, path, answer.Total, stamp(r.Begin), stamp(r.End), got)
		case points > pageSize || len(answer.Frames) >= pageSize: // it counts frames
			offset += len(answer.Frames)
		default:
			offset += points
		}
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func pushed(metric string, w *pointJSON, scopeKey string) (p metering.PushedPoint, err error) {
	if !w.Vol.Qty.given {
		return p, fmt.Errorf("it has no quantity")
	}
	p = metering.PushedPoint{
		Scope: metering.UndefinedScope, Metric: metric, Unit: cmp.Or(string(w.Vol.Unit), "undefined"),
		Qty: w.Vol.Qty.Round(money.QtyPlaces), Price: w.Rating.Price.Round(money.PricePlaces),
	}
	literals := map[string]bool{}
	read := func(from map[string]json.RawMessage, groupby bool) (all metering.Attributes, err error) {
		for _, name := range slices.Sorted(maps.Keys(from)) {
			value, literal, err := attribute(from[name])
			if err != nil {
				return nil, err
			}
			if groupby && name == scopeKey {
				if value != "" && value != "null" {
					p.Scope = value
				}
				continue
			}
			if literal {
				literals[name] = true
			}
			all = append(all, metering.Attribute{Name: name, Value: value})
		}
		return all, nil
	}
	if p.Groupby, err = read(w.Groupby, true); err != nil {
		return p, err
	}
	if p.Metadata, err = read(w.Metadata, false); err != nil {
		return p, err
	}
	for _, name := range slices.Sorted(maps.Keys(literals)) {
		_, one := p.Groupby.Get(name)
		_, two := p.Metadata.Get(name)
		if one != two { // what is in both can be kept as text only
			p.Literals = append(p.Literals, name)
		}
	}
	return p, nil
}

// FramesV1 is Frames for servers without version 2 of the API, whose storage keeps neither units nor what is metadata; unit tells
// the unit of a metric.
func (c *Client) FramesV1(ctx context.Context, r period.Range, scopeKey string, unit func(metric string) string) (frames []metering.PushedFrame, outside int, err error) {
	const path = "/v1/storage/dataframes"
	var answer struct {
		Frames []struct {
			Begin, End moment
			Tenant     text `json:"tenant_id"`
			Resources  []struct {
				Service string
				Desc    map[string]json.RawMessage
				Volume  number
				Rating  number
			}
		} `json:"dataframes"`
	}
	if err := c.get(ctx, path, within(url.Values{}, r, false), &answer); err != nil {
		return nil, 0, err
	}
	for _, f := range answer.Frames {
		frame := metering.PushedFrame{Begin: f.Begin.Truncate(time.Second), End: f.End.Truncate(time.Second)}
		for _, res := range f.Resources {
			w := pointJSON{Groupby: res.Desc}
			w.Vol.Unit, w.Vol.Qty, w.Rating.Price = text(unit(res.Service)), res.Volume, res.Rating
			p, err := pushed(res.Service, &w, scopeKey)
			if err != nil {
				return nil, 0, fault.New(fault.Unavailable, "CloudKitty at %s, GET %s: a resource of %s from %s: %v", c.base, path, excerpt(res.Service), stamp(frame.Begin), err)
			}
			if p.Scope == metering.UndefinedScope && f.Tenant != "" {
				p.Scope = string(f.Tenant)
			}
			frame.Points = append(frame.Points, p)
		}
		if r.Contains(frame.Begin) {
			frames = append(frames, frame)
		} else {
			outside += len(frame.Points)
		}
	}
	return frames, outside, nil
}

// Total is what a scope's usage of a metric costs in a range.
type Total struct {
	Scope, Metric string
	Cost          money.Decimal
}

// Totals returns what everything in a range costs, by scope and metric; v2 says which version of the API to ask.
func (c *Client) Totals(ctx context.Context, r period.Range, scopeKey string, v2 bool) ([]Total, error) {
	if !v2 {
		return c.totalsV1(ctx, r)
	}
	const path = "/v2/summary"
	var all []Total
	for {
		query := within(page(len(all)), r, true)
		query["groupby"] = []string{scopeKey, "type"}
		var answer struct {
			Total   int
			Columns []string
			Results [][]json.RawMessage
		}
		if err := c.get(ctx, path, query, &answer); err != nil {
			return nil, err
		}
		wrong := func(what string) error {
			return fault.New(fault.Unavailable, "CloudKitty at %s, GET %s: the answer %s", c.base, path, what)
		}
		column := func(names ...string) int {
			return slices.IndexFunc(answer.Columns, func(name string) bool { return slices.Contains(names, name) })
		}
		scope, metric, rate := column(scopeKey, "tenant_id"), column("type", "res_type"), column("rate")
		if len(answer.Results) > 0 && min(scope, metric, rate) < 0 {
			return nil, wrong(fmt.Sprintf("has the columns %s, and not %s, type and rate", excerpt(fmt.Sprint(answer.Columns)), scopeKey))
		}
		for _, row := range answer.Results {
			var id, name text
			var cost number
			if len(row) != len(answer.Columns) {
				return nil, wrong("has a row that doesn't fit its columns")
			}
			for i, into := range map[int]any{scope: &id, metric: &name, rate: &cost} {
				if err := json.Unmarshal(row[i], into); err != nil {
					return nil, wrong(fmt.Sprintf("can't be understood: %v", err))
				}
			}
			all = append(all, Total{cmp.Or(string(id), metering.UndefinedScope), string(name), cost.Decimal})
		}
		switch {
		case len(all) >= answer.Total:
			return all, nil
		case len(answer.Results) == 0:
			return nil, wrong(fmt.Sprintf("promises %d rows, but %d came", answer.Total, len(all)))
		}
	}
}

func (c *Client) totalsV1(ctx context.Context, r period.Range) (all []Total, err error) {
	query := within(url.Values{"groupby": {"tenant_id,res_type"}, "all_tenants": {"true"}}, r, false)
	var answer struct {
		Summary []struct {
			Tenant text `json:"tenant_id"`
			Type   text `json:"res_type"`
			Rate   number
		}
	}
	if err := c.get(ctx, "/v1/report/summary", query, &answer); err != nil {
		return nil, err
	}
	for _, s := range answer.Summary {
		if s.Type == "ALL" && s.Rate.IsZero() { // how it says that there is nothing
			continue
		}
		all = append(all, Total{cmp.Or(string(s.Tenant), metering.UndefinedScope), string(s.Type), s.Rate.Decimal})
	}
	return all, nil
}
