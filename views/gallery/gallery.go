// Package gallery shows every component in every state, for whoever changes one: on a page, and as the fixtures of the
// components' tests.
package gallery

import (
	"fmt"
	"strings"
	"time"

	"github.com/a-h/templ"

	"ratebook/metering"
	"ratebook/money"
	"ratebook/views/components"
)

// Fixture is a component in one state.
type Fixture struct {
	Name      string // of its golden file
	Component templ.Component
}

// Group is the fixtures of one component.
type Group struct {
	Title    string
	Fixtures []Fixture
}

// long is a name as resources have them, without a place to break.
const long = "kubernetes-namespace-genomics-pipeline-production-eu-central-1-0123456789abcdef0123456789abcdef"

func amount(s string) money.Decimal { return money.MustParse(s) }

func amounts(all ...string) []money.Decimal {
	d := make([]money.Decimal, len(all))
	for i, s := range all {
		d[i] = amount(s)
	}
	return d
}

// Groups returns all fixtures. They are always the same.
func Groups() []Group {
	return []Group{
		{"Amounts, quantities and times", numbers()},
		{"States", states()},
		{"Shares and sparklines", small()},
		{"Progress and differences", progress()},
		{"Charts", charts()},
		{"Tables", tables()},
		{"Maps of windows", maps()},
		{"Pages of a list", pagers()},
		{"Faces", faces()},
		{"Forms", forms()},
	}
}

func numbers() []Fixture {
	berlin := time.FixedZone("CET", 3600)
	return []Fixture{
		{"amount", components.Amount(amount("12480.224999"), "EUR")},
		{"amount-small", components.Amount(amount("0.000123456789"), "EUR")},
		{"amount-negative", components.Amount(amount("-1234.5"), "EUR")},
		{"amount-zero", components.Amount(amount("0"), "EUR")},
		{"amount-huge", components.Amount(amount("123456789012345678901234.123456789012"), "EUR")},
		{"money", components.Money(amount("12480.22"), "EUR")},
		{"quantity", components.Quantity(amount("1234.567891"), "GiB", false)},
		{"quantity-mixed", components.Quantity(amount("3"), "", true)},
		{"change-up", components.Change(amount("11544.61"), amount("12480.22"), "EUR")},
		{"change-down", components.Change(amount("100"), amount("97"), "EUR")},
		{"change-none", components.Change(amount("100"), amount("100"), "EUR")},
		{"change-from-zero", components.Change(amount("0"), amount("97"), "EUR")},
		{"missing", components.Missing("the scope was not collected in this hour")},
		{"time", components.Time(time.Date(2026, 11, 21, 13, 2, 11, 0, time.UTC), berlin)},
	}
}

func states() []Fixture {
	return []Fixture{
		{"badge-ok", components.Badge(components.OK, "up to date")},
		{"badge-warning", components.Badge(components.Warning, "lagging 6 h")},
		{"badge-failed", components.Badge(components.Failed, "14 windows failed")},
		{"badge-neutral", components.Badge(components.Neutral, "off")},
	}
}

func small() []Fixture {
	var month []money.Decimal
	for i := range int64(60) {
		month = append(month, money.New(20+(i*37)%50, 0))
	}
	return []Fixture{
		{"share", components.Share(amount("5201.10"), amount("12480.22"))},
		{"share-all", components.Share(amount("7"), amount("7"))},
		{"share-tiny", components.Share(amount("0.0001"), amount("12480.22"))},
		{"share-negative", components.Share(amount("-20"), amount("100"))},
		{"share-of-zero", components.Share(amount("0"), amount("0"))},
		{"sparkline", components.Sparkline(amounts("3", "4", "4.5", "2", "0", "6", "7", "6.5", "5", "5", "8", "9", "4"), "Genomics by day, 1–13 Nov 2026")},
		{"sparkline-negative", components.Sparkline(amounts("3", "-2", "1", "-0.5", "2", "2"), "Refunds by day, 1–6 Nov 2026")},
		{"sparkline-long", components.Sparkline(month, "Genomics by day, 60 days")},
		{"sparkline-zero", components.Sparkline(amounts("0", "0", "0"), "Archive by day, 1–3 Nov 2026")},
		{"sparkline-empty", components.Sparkline(nil, "Archive, no days")},
	}
}

func progress() []Fixture {
	return []Fixture{
		{"progress", components.Progress(components.Windows{Done: 312, All: 480})},
		{"progress-failing", components.Progress(components.Windows{Done: 8_000, All: 8_928, Failing: 3})},
		{"progress-counting", components.Progress(components.Windows{All: 12_000, Counting: true})},
		{"progress-done", components.Progress(components.Windows{Done: 24, All: 24})},
		{"progress-none", components.Progress(components.Windows{})},
		{"difference-more", components.Difference(amount("0.400000000001"), "EUR")},
		{"difference-less", components.Difference(amount("-1204"), "EUR")},
		{"difference-none", components.Difference(amount("0"), "EUR")},
	}
}

// days returns a chart of some days, with the amounts of some series; each amount is made from where it stands.
func days(title string, n int, names []string, value func(series, day int) money.Decimal) components.Chart {
	c := components.Chart{Title: title, Currency: "EUR"}
	first := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for i := range n {
		day := first.AddDate(0, 0, i)
		c.Buckets = append(c.Buckets, components.Bucket{
			Label: day.Format("2 Jan"), Title: day.Format("Mon 2 Jan 2006"), Path: "/costs?range=" + day.Format(time.DateOnly),
		})
	}
	colors := components.Colors(names)
	for s, name := range names {
		all := make([]money.Decimal, n)
		for i := range n {
			all[i] = value(s, i)
		}
		c.Series = append(c.Series, components.Series{Name: name, Color: colors[s], Path: "/costs?filter=metric:" + name, Values: all})
	}
	return c
}

func wave(series, day int) money.Decimal {
	return money.New(int64(900+(series*331+day*173+day*day*7)%1100)*int64(8-series%8), 2)
}

func charts() []Fixture {
	metrics := []string{"cpu", "memory", "volume.size", "network.outgoing", "image.size"}
	many := append([]string{}, metrics...)
	many = append(many, "floating_ip", "load_balancer", "object_store", "everything else")
	lonely := days("Cost of one day", 1, metrics[:1], wave)
	lonely.Buckets[0].Path, lonely.Series[0].Path = "", ""

	hours := days("Cost by hour and metric, 1–6 Nov 2026", 6*24, metrics[:3], wave)
	for i := range hours.Buckets {
		hours.Buckets[i].Path, hours.Buckets[i].Label = "", ""
		if i%24 == 0 {
			hours.Buckets[i].Label = fmt.Sprintf("%d Nov", i/24+1)
		}
	}
	named := days("Cost by day and namespace", 7, []string{long, "small", strings.ToUpper(long)}, wave)
	return []Fixture{
		{"chart", components.StackedBars(days("Cost by day and metric, 1–21 Nov 2026", 21, metrics, wave))},
		{"chart-many-series", components.StackedBars(days("Cost by day and metric, 31 days", 31, many, wave))},
		{"chart-negative", components.StackedBars(days("Cost and refunds by day, 1–14 Nov 2026", 14, []string{"cpu", "refund", "discount"},
			func(s, day int) money.Decimal {
				if s > 0 {
					return money.New(int64(-400-day*37*s), 2)
				}
				return wave(0, day)
			}))},
		{"chart-weeks", components.StackedBars(days("Cost by day and metric, 90 days", 90, metrics[:2], wave))},
		{"chart-hours", components.StackedBars(hours)},
		{"chart-tiny", components.StackedBars(days("Cost by day, very small", 5, metrics[:1],
			func(_, day int) money.Decimal { return money.New(int64(day*day+1), 12) }))},
		{"chart-huge", components.StackedBars(days("Cost by day, very large", 5, metrics[:2],
			func(s, day int) money.Decimal {
				return wave(s, day).Mul(amount("1234567890123456789012"))
			}))},
		{"chart-one", components.StackedBars(lonely)},
		{"chart-names", components.StackedBars(named)},
		{"chart-zero", components.StackedBars(days("Cost by day, all zero", 7, metrics[:2], func(int, int) money.Decimal { return money.Decimal{} }))},
		{"chart-empty", components.StackedBars(components.Chart{Title: "Cost by day", Currency: "EUR"})},
	}
}

func tables() []Fixture {
	return []Fixture{
		{"table", costTable("")},
		{"table-swapped", costTable("#report")},
		{"table-wide", wideTable()},
	}
}

func maps() []Fixture {
	m := components.WindowMap{Caption: "Windows of 2 scopes, 30 Nov – 6 Dec 2026", Spans: []components.MapSpan{{Label: "Nov 2026", Columns: 1}, {Label: "Dec 2026", Columns: 6}}}
	for i, label := range []string{"30", "1", "2", "3", "4", "5", "6"} {
		m.Columns = append(m.Columns, components.MapColumn{Label: label, Title: label + " Nov or Dec 2026", Path: "/processing/coverage?zoom=day&at=" + label, Now: i == 5})
	}
	cell := func(c components.MapCell, title string) components.MapCell {
		c.Title, c.Path = "Genomics, some day: "+title, "/processing/coverage?zoom=day"
		return c
	}
	m.Rows = []components.MapRow{
		{Name: "Genomics", Path: "/scopes/1", Hint: "5e0b7d49", Note: "2 failed", NotePath: "/processing/coverage?scope=1", Cells: []components.MapCell{
			cell(components.MapCell{State: metering.Done}, "24 done"),
			cell(components.MapCell{State: metering.Failed, Part: true}, "22 done, 2 failed"),
			cell(components.MapCell{State: metering.Failed}, "24 failed"),
			cell(components.MapCell{State: metering.Waived}, "24 waived"),
			cell(components.MapCell{State: metering.Leased, Part: true}, "12 done, 12 in work"),
			cell(components.MapCell{State: metering.Due, Part: true}, "3 done, 21 due"),
			{},
		}},
		{Name: long, Path: "/scopes/2", Cells: []components.MapCell{
			{},
			cell(components.MapCell{State: metering.Empty}, "24 no usage"),
			cell(components.MapCell{State: metering.Done, Redone: true}, "24 done; 24 were done again"),
			cell(components.MapCell{State: metering.Done, Again: true}, "24 done; 24 wait to be done again"),
			cell(components.MapCell{State: metering.Leased}, "24 in work"),
			cell(components.MapCell{State: metering.Due}, "24 due"),
			{},
		}},
	}
	return []Fixture{
		{"map", components.Coverage(m)},
		{"map-legend", components.MapLegend([]components.MapKey{
			{Cell: components.MapCell{State: metering.Done}, Text: "done 12,480"}, {Cell: components.MapCell{State: metering.Failed}, Text: "failed 2"},
		})},
	}
}

func pagers() []Fixture {
	path := func(n int) string { return fmt.Sprintf("/costs?page=%d", n) }
	return []Fixture{
		{"pager-first", components.Pager(components.Pages{Page: 1, Pages: 7, PerPage: 50, Rows: 312, What: "groups", Path: path})},
		{"pager-middle", components.Pager(components.Pages{Page: 2, Pages: 7, PerPage: 50, Rows: 312, What: "scopes", Path: path, Target: "#scopes"})},
		{"pager-last", components.Pager(components.Pages{Page: 7, Pages: 7, PerPage: 50, Rows: 312, What: "rules", Path: path})},
		{"pager-plain", components.Pager(components.Pages{Page: 3, Pages: 1200, Rows: 1234567, What: "charges", Path: path})},
		{"pager-none", components.Pager(components.Pages{Page: 1, Pages: 1, PerPage: 50, Rows: 12, What: "groups", Path: path})},
	}
}

func faces() []Fixture {
	return []Fixture{
		{"loading", components.Loading("Adding up 1.8 million charges")},
		{"empty", components.Empty("No costs in November 2026 yet", "The first windows are processed after 1 Nov 2026, 01:15. Costs of October are complete.",
			components.Link{Label: "Costs of October", Path: "/costs?range=last-month"}, components.Link{Label: "Scopes", Path: "/scopes"})},
		{"empty-plain", components.Empty("No rule has this name", "")},
		{"partial", components.Partial("3 of 300 scopes lag by more than 4 h, so the last day is incomplete.",
			&components.Link{Label: "Which", Path: "/scopes?state=lagging"})},
		{"partial-plain", components.Partial("Usage of 12 Nov 2026, 14:00–16:00 was not collected: Prometheus answered 503.", nil)},
		{"problem", components.Problem("The costs could not be added up", "The database did not answer within 10 s. Nothing is lost.", "/costs")},
		{"problem-plain", components.Problem("The costs could not be added up", "The database did not answer within 10 s.", "")},
	}
}

func forms() []Fixture {
	return []Fixture{
		{"form-error", components.FormError("The mapping was not saved: two fields are wrong.")},
		{"field", components.Field(components.Input{
			Name: "flavor", Label: "Flavor", Value: "m1.medium", Help: "As the metric's metadata has it.",
			Suggestions: []string{"m1.small", "m1.medium", "m1.large"},
		})},
		{"field-empty", components.Field(components.Input{Name: "login", Label: "Login", Example: "ada", Autocomplete: "username", Required: true})},
		{"field-unit", components.Field(components.Input{Name: "cost", Label: "Price", Value: "0.035", Unit: "EUR per vCPU and hour", Help: "Decimals with a point."})},
		{"field-wrong", components.Field(components.Input{
			Name: "price", Label: "Price", Value: "0,035", Unit: "EUR", Help: "Decimals with a point.",
			Error: `"0,035" is no number; write it like 0.035`, Required: true,
		})},
		{"field-password", components.Field(components.Input{
			Name: "password", Label: "Password", Type: "password", Value: "never shown again",
			Autocomplete: "current-password", Required: true,
		})},
		{"field-date-wrong", components.Field(components.Input{Name: "until", Label: "To", Type: "date", Value: "tomorrow", Error: "Write a day like 2026-11-21."})},
		{"field-date", components.Field(components.Input{Name: "from", Label: "From", Type: "date", Value: "2026-11-22"})},
		{"select", components.Select(components.Choice{
			Name: "type", Label: "Type", Value: "rate", Help: "A flat price is added, a rate multiplies.",
			Options: []components.Option{{Value: "flat", Label: "flat"}, {Value: "rate", Label: "rate"}},
		})},
		{"select-wrong", components.Select(components.Choice{
			Name: "group", Label: "Group", Error: "the group was deleted meanwhile",
			Options: []components.Option{{Value: "", Label: "none"}, {Value: "1", Label: long}},
		})},
		{"textarea", components.TextArea(components.Text{Name: "note", Label: "Note", Value: "Agreed on 20 Nov 2026\nwith <finance>", Rows: 4})},
		{"textarea-wrong", components.TextArea(components.Text{Name: "query", Label: "Query", Value: "sum(", Error: "the bracket is not closed", Help: "PromQL."})},
	}
}
