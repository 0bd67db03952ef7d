package storetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"ratebook/metering"
	"ratebook/period"
	"ratebook/store"
)

var findingTests = []test{
	{"findings/sums", func(e *env) {
		e.world(store.Wanted{})
		r := rand.New(rand.NewPCG(7, 7))
		scopes := e.scopes(begin.Add(-30*hour), "a", "b", "c")
		e.plan(begin.Add(40 * hour))
		kinds := []metering.FindingKind{metering.Unpriced, metering.NotNumeric, metering.Skipped}
		compare := func() {
			e.Helper()
			for range 10 {
				at := begin.Add(time.Duration(r.IntN(70)-35) * hour)
				all := period.Range{Begin: at, End: at.Add(time.Duration(r.IntN(60)) * hour)}
				kind := append(kinds, "")[r.IntN(4)]
				e.equal(fmt.Sprint("findings of ", all, kind), e.findings(all, kind), e.naiveFindings(all, kind))
				for _, s := range scopes {
					e.equal(fmt.Sprint("findings of ", all, " of ", s.ID), e.findingsOf(all, s.Ref), e.naiveFindingsOf(all, s.Ref))
				}
			}
		}
		compare()
		for range 8 { // windows are replaced by others, with other findings or none
			b := e.seize(period.Run{Begin: begin.Add(time.Duration(r.IntN(40)-30) * hour), Length: hour, Count: 1 + r.IntN(24)}, scopes[r.IntN(3):]...)
			for range r.IntN(60) {
				b.Findings = append(b.Findings, metering.Finding{
					Kind: kinds[r.IntN(3)], Scope: b.Scopes[r.IntN(len(b.Scopes))], Window: r.IntN(b.Run.Count), Metric: []string{"cpu", "Ünï"}[r.IntN(2)],
					Detail: []string{"", "flavor = x", "it's, <odd>"}[r.IntN(3)], Points: r.IntN(5),
				})
			}
			e.commit(b)
			e.free(b)
			compare()
		}
		none, err := e.s.FindingScopes(e.ctx, period.Range{Begin: begin, End: begin.Add(hour)}, metering.LabelClash, "cpu", "")
		e.must(err)
		e.equal("scopes of nothing", len(none), 0)
	}},
	{"findings/other values", func(e *env) {
		const most, scopeCount = 100, 4
		b := e.committable(2, "a", "b", "c", "d")
		for i, s := range b.Scopes {
			for n := range 40 { // of these, half is new with each scope
				for w := range 2 {
					b.Findings = append(b.Findings, metering.Finding{
						Kind: metering.Unpriced, Scope: s, Window: w, Metric: "cpu", Detail: fmt.Sprintf("id = %03d", 20*i+n), Points: 1,
					})
				}
			}
		}
		e.commit(b)
		e.free(b)
		day := period.Range{Begin: begin, End: begin.Add(hour)}
		sums := func() (details int, all, other metering.FindingSum) {
			e.Helper()
			list, err := e.s.Findings(e.ctx, day, metering.Unpriced)
			e.must(err)
			for _, f := range list {
				all.Points += f.Points
				if f.Detail == metering.OtherValues {
					other = f
				} else {
					details++
				}
			}
			return details, all, other
		}
		details, all, other := sums()
		e.equal("details apart", details, most)
		e.equal("points", all.Points, int64(scopeCount*40*2))
		e.equal("there are no others", other.Points, int64(0))

		more := e.scopes(begin, "e", "f")
		e.plan(begin.Add(2 * hour))
		b = e.seize(period.Run{Begin: begin, Length: hour, Count: 2}, more...)
		for _, s := range b.Scopes {
			for n := range 10 {
				b.Findings = append(b.Findings,
					metering.Finding{Kind: metering.Unpriced, Scope: s, Metric: "cpu", Detail: fmt.Sprintf("id = %03d", 95+n), Points: 1},
					metering.Finding{Kind: metering.Unpriced, Scope: s, Window: n % 2, Metric: "cpu", Detail: metering.OtherValues, Points: 1})
			}
		}
		e.commit(b)
		details, all, other = sums()
		e.equal("details apart with more scopes", details, most)
		e.equal("points with more scopes", all.Points, int64(scopeCount*40*2+2*20))
		e.equal("others", fmt.Sprint(other.Points, other.Windows, other.Scopes), fmt.Sprint(2*(5+10), 4, 2))
		parts, err := e.s.FindingScopes(e.ctx, day, metering.Unpriced, "cpu", metering.OtherValues)
		e.must(err)
		e.equal("scopes of the others", fmt.Sprint(len(parts), parts[0].Points, parts[0].Windows), "2 15 2")

		e.free(b)
		e.commit(e.seize(b.Run, more...)) // once more, with nothing to say
		details, all, other = sums()
		e.equal("without them", fmt.Sprint(details, all.Points, other.Points), fmt.Sprint(most, scopeCount*40*2, 0))
		e.equal("rows of nothing", e.count("SELECT count(*) FROM finding_sums WHERE windows <= 0 OR points <= 0 OR scopes <= 0"), 0)
	}},
	{"findings/series growth", func(e *env) {
		e.world(store.Wanted{Timezone: "Europe/Berlin"}, "cpu", "ram", "net")
		day := at("2026-11-03T00:00:00Z")
		scopes := e.scopes(day.Add(-24*hour), "a", "b")
		e.plan(day.Add(48 * hour))
		n := 0 // of the series so far
		charge := func(begin time.Time, measured string, scope *metering.Scope, windows, series int) {
			b := e.seize(period.Run{Begin: begin, Length: hour, Count: windows}, scope)
			for range series {
				n++
				e.fill(b, scope, measured, attrs("id", fmt.Sprint(n)), each(windows, "1@1")...)
			}
			e.commit(b)
			e.free(b)
		}
		growth := func(r period.Range) (lines []string) {
			e.Helper()
			all, err := e.s.SeriesGrowth(e.ctx, r)
			e.must(err)
			for _, g := range all {
				lines = append(lines, fmt.Sprintf("%s on %s: %d of %d, %d scopes", g.Metric, g.Day.Format("02 15:04"), g.Series, g.Points, g.Scopes))
			}
			return lines
		}
		whole := period.Range{Begin: day.Add(-48 * hour), End: day.Add(72 * hour)}
		e.equal("at first", growth(whole), []string(nil))
		charge(day.Add(-24*hour), "cpu", scopes[0], 1, 150) // the metric's first day
		charge(day.Add(-23*hour), "ram", scopes[0], 1, 1)
		charge(day.Add(-22*hour), "net", scopes[0], 1, 1)
		e.equal("the first day", growth(whole), []string(nil))
		charge(day, "cpu", scopes[0], 1, 60)
		charge(day.Add(hour), "cpu", scopes[1], 2, 50)
		charge(day.Add(4*hour), "ram", scopes[0], 1, 99)   // too few
		charge(day.Add(5*hour), "net", scopes[0], 12, 100) // live long enough: 8.3 %
		charge(day.Add(25*hour), "net", scopes[1], 9, 100) // 11.1 %
		e.equal("growth", growth(whole), []string{"cpu on 03 00:00: 110 of 160, 2 scopes", "net on 04 00:00: 100 of 900, 1 scopes"})
		e.equal("of a day", growth(period.Range{Begin: day.Add(25 * hour), End: day.Add(26 * hour)}), []string{"net on 04 00:00: 100 of 900, 1 scopes"})
		parts, err := e.s.FindingScopes(e.ctx, whole, metering.SeriesGrowth, "cpu", "")
		e.must(err)
		e.equal("scopes", fmt.Sprint(len(parts), parts[0].Scope, parts[0].Points, parts[1].Points), fmt.Sprint(2, scopes[0].Ref, 210, 50))
	}},
}

// findings is what the store says was noticed.
func (e *env) findings(r period.Range, kind metering.FindingKind) (lines []string) {
	e.Helper()
	all, err := e.s.Findings(e.ctx, r, kind)
	e.must(err)
	if !slices.IsSortedFunc(all, func(a, b metering.FindingSum) int {
		return cmp.Or(strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Metric, b.Metric), cmp.Compare(b.Points, a.Points))
	}) {
		e.Errorf("the order is %+v", all)
	}
	for _, f := range all {
		lines = append(lines, findingLine(f.Kind, f.Metric, f.Detail, f.Points, f.Windows, f.Scopes, f.First, f.Last))
	}
	slices.Sort(lines)
	return lines
}

func findingLine(kind metering.FindingKind, metric, detail string, points, windows int64, scopes int, first, last time.Time) string {
	return fmt.Sprintf("%s %s %s: %d points in %d windows of %d scopes, %s to %s", kind, metric, detail, points, windows, scopes,
		first.UTC().Format("02 15:04"), last.UTC().Format("02 15:04"))
}

// naiveFindings is the same from the findings themselves, day by day.
func (e *env) naiveFindings(r period.Range, kind metering.FindingKind) (lines []string) {
	e.Helper()
	sums := map[string]*metering.FindingSum{}
	if r.Empty() {
		return nil
	}
	for day := r.Begin.Truncate(24 * hour); day.Before(r.End); day = day.Add(24 * hour) {
		where, args := "", []any{e.time(day), e.time(day.Add(24 * hour))}
		if kind != "" {
			where, args = " AND kind = ?", append(args, kind)
		}
		for _, f := range e.naiveRows(where, args) {
			key := fmt.Sprintf("%q %q %q", f.Kind, f.Metric, f.Detail)
			sum := sums[key]
			if sum == nil {
				sum = &metering.FindingSum{Kind: f.Kind, Metric: f.Metric, Detail: f.Detail, First: day}
				sums[key] = sum
			}
			sum.Points, sum.Windows, sum.Scopes, sum.Last = sum.Points+f.Points, sum.Windows+f.Windows, max(sum.Scopes, f.Scopes), day
		}
	}
	for _, f := range sums {
		lines = append(lines, findingLine(f.Kind, f.Metric, f.Detail, f.Points, f.Windows, f.Scopes, f.First, f.Last))
	}
	slices.Sort(lines)
	return lines
}

func (e *env) naiveSums(where string, args []any) (lines []string) {
	e.Helper()
	for _, f := range e.naiveRows(where, args) {
		lines = append(lines, findingLine(f.Kind, f.Metric, f.Detail, f.Points, f.Windows, f.Scopes, f.First, f.Last))
	}
	slices.Sort(lines)
	return lines
}

// naiveRows sums up findings that begin in a range; First and Last are windows.
func (e *env) naiveRows(where string, args []any) (all []metering.FindingSum) {
	e.Helper()
	rows, err := e.raw.QueryContext(e.ctx, e.raw.Rebind(`SELECT kind, metric, detail, SUM(points), COUNT(*), COUNT(DISTINCT scope), MIN(`+e.unix("begins_at")+`), MAX(`+e.unix("begins_at")+`)
		FROM findings WHERE begins_at >= ? AND begins_at < ?`+where+" GROUP BY kind, metric, detail"), args...)
	e.must(err)
	defer rows.Close()
	for rows.Next() {
		var f metering.FindingSum
		var first, last int64
		e.must(rows.Scan(&f.Kind, &f.Metric, &f.Detail, &f.Points, &f.Windows, &f.Scopes, &first, &last))
		f.First, f.Last = time.Unix(first, 0), time.Unix(last, 0)
		all = append(all, f)
	}
	e.must(rows.Err())
	return all
}

// findingsOf is what the store says was noticed about one scope, finding by finding.
func (e *env) findingsOf(r period.Range, scope int64) (lines []string) {
	e.Helper()
	all, err := e.s.Findings(e.ctx, r, "")
	e.must(err)
	for _, f := range all {
		parts, err := e.s.FindingScopes(e.ctx, r, f.Kind, f.Metric, f.Detail)
		e.must(err)
		if len(parts) < f.Scopes {
			e.Errorf("%d parts of %+v", len(parts), f)
		}
		for i, p := range parts {
			if i > 0 && p.Points > parts[i-1].Points {
				e.Errorf("the order is %+v", parts)
			}
			if p.Scope == scope {
				lines = append(lines, findingLine(f.Kind, f.Metric, f.Detail, p.Points, p.Windows, 1, p.First, p.Last))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

func (e *env) naiveFindingsOf(r period.Range, scope int64) []string {
	e.Helper()
	return e.naiveSums(" AND scope = ?", []any{e.time(r.Begin.Truncate(24 * hour)), e.time(r.End.Add(24*hour - 1).Truncate(24 * hour)), scope})
}
