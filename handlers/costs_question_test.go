package handlers

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestCostsAddress reads addresses, and what is wrong with them.
func TestCostsAddress(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"range=this-month&group=scope&bucket=&sort=-cost&page=1&group=&filter=", ""},
		{"bucket=day", ""}, // as it would be anyway
		{"bucket=hour", "bucket=hour"},
		{"bucket=none&group=none", "bucket=none&group=none"},
		{"group=none&group=metric", "group=metric"},
		{"group=metric&group=metric", "group=metric"},
		{"group=attr:flavor&group=attr:scope", "group=flavor&group=attr%3Ascope"},
		{"from=2026-11-01&to=2026-11-21", "from=2026-11-01&to=2026-11-21"}, // stays, unlike this-month
		{"range=last-month&from=2026-11-01&to=2026-11-21", "range=last-month"},
		{"begin=2026-11-01&end=2026-11-03", "from=2026-11-01&to=2026-11-02"},
		{"begin=2026-10-31T23:00:00Z&end=2026-11-01T23:00:00Z", "from=2026-11-01&to=2026-11-01"},
		{"begin=2026-11-01T00:00:00Z&end=2026-11-01T01:00:00%2B00:00", "begin=2026-11-01T00%3A00%3A00Z&end=2026-11-01T01%3A00%3A00Z"},
		{"filter=a=1&filter=b=2&filter=a=3&filter=a=1", "filter=a%3D1&filter=a%3D3&filter=b%3D2"},
		{"filter=flavor=&filter=attr:flavor=x%3Dy", "filter=flavor%3D&filter=flavor%3Dx%3Dy"},
		{"sort=name2", ""}, // there is no second group
		{"sort=-qty&page=3", "page=3&sort=-qty"},
		{"range=last-12-months&bucket=month", "range=last-12-months"},
	} {
		v, err := url.ParseQuery(c.in)
		if err != nil {
			t.Fatal(err)
		}
		q, wrong := parseCosts(v, berlinZone, costsNow)
		if got := q.values().Encode(); len(wrong) > 0 || got != c.want {
			t.Errorf("%q: got %q, %v", c.in, got, wrong)
		}
	}
	for _, c := range []struct{ in, want string }{
		{"range=yesterday", `range: "yesterday" is no range; use one of those listed, or from and to`},
		{"from=2026-11-01", "to: is missing"},
		{"from=2026-11-02&to=2026-11-01", "to: must not be before the first day"},
		{"from=1.11.2026&to=2026-02-30", `from: "1.11.2026" is no day; write it like 2026-11-21|to: "2026-02-30" is no day; write it like 2026-11-21`},
		{"begin=2026-11-01&end=2026-11-01", "end: must be after begin"},
		{"from=2026-11-01&to=2026-11-01&end=2026-11-01", "begin: is there besides from and to; use either"},
		{"from=9999-01-01&to=9999-01-02", "to: must be in the years 1 to 9998"},
		{"group=a&group=b&group=c", "group: there are 3; a report has up to two"},
		{"bucket=year", `bucket: "year" is unknown; use hour, day, week, month or none`},
		{"filter=flavor", `filter: "flavor" is no filter; write it as key=value`},
		{"filter==x", `filter: "=x" is no filter; write it as key=value`},
		{"sort=price", `sort: "price" is unknown; use name, name2, cost, qty, points, or one of these after a -`},
		{"page=0", `page: "0" is no page; pages count from 1`},
		{"page=1&page=2", "page: is there 2 times"},
		{"filtr=scope%3Da", "filtr: is no part of a cost report's address; take it out"},
	} {
		v, err := url.ParseQuery(c.in)
		if err != nil {
			t.Fatal(err)
		}
		_, wrong := parseCosts(v, berlinZone, costsNow)
		var got []string
		for _, f := range wrong {
			got = append(got, f.Name+": "+f.Message)
		}
		if strings.Join(got, "|") != c.want {
			t.Errorf("%q: got %s", c.in, strings.Join(got, "|"))
		}
	}
}

// TestCostsAddressTwice holds that an address that was made once stays as it is.
func TestCostsAddressTwice(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/Havana", "America/Sao_Paulo", "Pacific/Apia", "Asia/Kathmandu", "Australia/Lord_Howe"}
	rapid.Check(t, func(t *rapid.T) {
		zone := costsZone(rapid.SampledFrom(zones).Draw(t, "zone"))
		now := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "now"), 0)
		keys := rapid.SampledFrom([]string{"", "none", "scope", "scope_name", "metric", "unit", "flavor", "attr:flavor", "attr:scope", "attr:none", "attr:attr:x", "a=b", "é"})
		v := url.Values{"group": rapid.SliceOfN(keys, 0, 2).Draw(t, "group")}
		for range rapid.IntRange(0, 4).Draw(t, "filters") {
			v.Add("filter", rapid.SampledFrom([]string{"scope", "attr:scope", "flavor", "attr:flavor", "x"}).Draw(t, "key")+"="+rapid.String().Draw(t, "value"))
		}
		v.Set("bucket", rapid.SampledFrom([]string{"", "hour", "day", "week", "month", "none"}).Draw(t, "bucket"))
		v.Set("sort", rapid.SampledFrom([]string{"", "cost", "-cost", "name", "-name2", "qty", "points"}).Draw(t, "sort"))
		v.Set("page", rapid.SampledFrom([]string{"", "1", "7"}).Draw(t, "page"))
		begin := time.Unix(rapid.Int64Range(-3e9, 4e9).Draw(t, "begin"), 0)
		end := begin.Add(time.Duration(rapid.Int64Range(1, 3e7).Draw(t, "length")) * time.Second)
		switch rapid.IntRange(0, 2).Draw(t, "range") {
		case 0:
			v.Set("range", rapid.SampledFrom([]string{"", "this-month", "last-month", "last-7-days", "last-30-days", "this-year", "last-12-months"}).Draw(t, "preset"))
		case 1:
			v.Set("from", begin.UTC().Format(time.DateOnly))
			v.Set("to", end.UTC().Format(time.DateOnly))
		default:
			v.Set("begin", begin.UTC().Format(time.RFC3339))
			v.Set("end", end.UTC().Format(time.RFC3339))
		}
		q, wrong := parseCosts(v, zone, now)
		if len(wrong) > 0 {
			if v.Get("from") != "" && zone.String() == "Pacific/Apia" {
				return // a day that was left out is no range
			}
			t.Fatal(wrong)
		}
		canonical := q.values()
		again, wrong := parseCosts(canonical, zone, now)
		if len(wrong) > 0 {
			t.Fatal(wrong)
		}
		if diff := cmp.Diff(canonical, again.values()); diff != "" {
			t.Error(diff)
		}
		if again.span != q.span || again.bucket != q.bucket || !slices.Equal(again.groups, q.groups) || again.sort != q.sort || again.page != q.page {
			t.Errorf("%+v became %+v", q, again)
		}
		if diff := cmp.Diff(q.filters, again.filters); diff != "" {
			t.Error(diff)
		}
	})
}
