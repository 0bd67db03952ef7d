package store

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"ratebook/metering"
	"ratebook/period"
)

// mostDetails is how many details of one kind, metric and day are summed apart, the first that are noticed; those that come
// later are summed as metering.OtherValues. It bounds what a label that is different for each scope makes of a day.
const mostDetails = 100

type findingKey struct {
	kind           metering.FindingKind
	metric, detail string
}

// findingSum is a row of finding_sums, or the difference between two.
type findingSum struct {
	Kind            metering.FindingKind
	Metric, Detail  string
	Windows, Points int64
	Scopes          int64
}

// findingDays sums what was noticed on the batch's days anew: for each of its scopes, and, by the difference, for all.
func (c *commit) findingDays(ctx context.Context) error {
	r := c.b.Run.Range()
	for day := period.Floor(r.Begin, findingDay); day.Before(r.End); day = day.Add(findingDay) {
		if err := c.findingDay(ctx, day); err != nil {
			return err
		}
	}
	return nil
}

func (c *commit) findingDay(ctx context.Context, day time.Time) error {
	scopes, end := refs(c.b.Scopes), day.Add(findingDay)
	changes := map[findingKey]*findingSum{}
	if err := c.addFindingDays(ctx, day, -1, changes); err != nil {
		return err
	}
	query, args := in("DELETE FROM finding_days WHERE day = ? AND scope IN (?)", at(day), scopes)
	if _, err := c.t.exec(ctx, query, args...); err != nil {
		return err
	}
	// what is new gets a row while there is room
	query, args = in(`INSERT INTO finding_sums (day, kind, metric, detail, windows, points, scopes)
		SELECT `+c.t.d.bindTime+`, kind, metric, detail, 0, 0, 0 FROM (
			SELECT kind, metric, detail, ROW_NUMBER() OVER (PARTITION BY kind, metric ORDER BY SUM(points) DESC, detail) AS turn FROM findings f
			WHERE scope IN (?) AND begins_at >= ? AND begins_at < ? AND detail <> ?
				AND NOT EXISTS (SELECT 1 FROM finding_sums s WHERE s.day = ? AND s.kind = f.kind AND s.metric = f.metric AND s.detail = f.detail)
			GROUP BY kind, metric, detail
		) n WHERE turn + (SELECT COUNT(*) FROM finding_sums s WHERE s.day = ? AND s.kind = n.kind AND s.metric = n.metric) <= ?
		ORDER BY kind, metric, detail ON CONFLICT DO NOTHING`,
		at(day), scopes, at(day), at(end), metering.OtherValues, at(day), at(day), mostDetails)
	if _, err := c.t.exec(ctx, query, args...); err != nil {
		return err
	}
	query, args = in(`INSERT INTO finding_days (day, scope, kind, metric, detail, windows, points, first_at, last_at)
		SELECT `+c.t.d.bindTime+`, f.scope, f.kind, f.metric, COALESCE(s.detail, ?), COUNT(DISTINCT f.begins_at), SUM(f.points), MIN(f.begins_at), MAX(f.begins_at)
		FROM findings f LEFT JOIN finding_sums s ON s.day = ? AND s.kind = f.kind AND s.metric = f.metric AND s.detail = f.detail
		WHERE f.scope IN (?) AND f.begins_at >= ? AND f.begins_at < ? GROUP BY 2, 3, 4, 5`,
		at(day), metering.OtherValues, at(day), scopes, at(day), at(end))
	if _, err := c.t.exec(ctx, query, args...); err != nil {
		return err
	}
	if err := c.addFindingDays(ctx, day, 1, changes); err != nil {
		return err
	}
	return c.addFindingSums(ctx, day, changes)
}

// addFindingDays adds, or with sign -1 takes away, what finding_days has of the batch's scopes on a day.
func (c *commit) addFindingDays(ctx context.Context, day time.Time, sign int64, changes map[findingKey]*findingSum) error {
	var rows []findingSum
	query, args := in(`SELECT kind, metric, detail, SUM(windows) AS windows, SUM(points) AS points, COUNT(*) AS scopes FROM finding_days
		WHERE day = ? AND scope IN (?) GROUP BY kind, metric, detail`, at(day), refs(c.b.Scopes))
	if err := c.t.list(ctx, &rows, query, args...); err != nil {
		return err
	}
	for _, r := range rows {
		k := findingKey{r.Kind, r.Metric, r.Detail}
		sum := changes[k]
		if sum == nil {
			sum = &findingSum{Kind: r.Kind, Metric: r.Metric, Detail: r.Detail}
			changes[k] = sum
		}
		sum.Windows += sign * r.Windows
		sum.Points += sign * r.Points
		sum.Scopes += sign * r.Scopes
	}
	return nil
}

// addFindingSums adds to the sums of all scopes, which other workers change too: in one order, at the end of the transaction.
func (c *commit) addFindingSums(ctx context.Context, day time.Time, changes map[findingKey]*findingSum) error {
	ordered := keys(changes)
	slices.SortFunc(ordered, func(x, y findingKey) int {
		return cmp.Or(strings.Compare(string(x.kind), string(y.kind)), strings.Compare(x.metric, y.metric), strings.Compare(x.detail, y.detail))
	})
	var values []any
	gone := false
	for _, k := range ordered {
		if sum := changes[k]; sum.Windows != 0 || sum.Points != 0 || sum.Scopes != 0 {
			values = append(values, at(day), k.kind, k.metric, k.detail, sum.Windows, sum.Points, sum.Scopes)
			gone = gone || sum.Windows < 0
		}
	}
	err := c.t.insertRows(ctx, "INSERT INTO finding_sums AS s (day, kind, metric, detail, windows, points, scopes)",
		`ON CONFLICT (day, kind, metric, detail) DO UPDATE SET windows = s.windows + excluded.windows, points = s.points + excluded.points,
		scopes = s.scopes + excluded.scopes`, 7, values)
	if err == nil && gone {
		_, err = c.t.exec(ctx, "DELETE FROM finding_sums WHERE day = ? AND windows = 0", at(day))
	}
	return err
}

// findingDay is what findings are summed by; UTC days don't depend on the billing zone.
const findingDay = 24 * time.Hour
