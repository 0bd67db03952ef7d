package e2e

import (
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"ratebook/money"
	"ratebook/rollup"
)

// open connects to the database without the program's own code.
func (db *database) open(t testing.TB) *sql.DB {
	t.Helper()
	driver, name := "postgres", db.url
	if db.path != "" {
		driver, name = "sqlite", "file:"+db.path+"?_pragma=busy_timeout(10000)"
	}
	d, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// seconds is SQL for a time in Unix seconds.
func (db *database) seconds(column string) string {
	if db.path != "" {
		return column + " + 0" // not a time to the driver
	}
	return "CAST(extract(epoch FROM " + column + ") AS bigint)"
}

// scan calls f with the columns of each row, as text.
func scan(t testing.TB, d *sql.DB, query string, f func(row []string)) {
	t.Helper()
	rows, err := d.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	row := make([]string, len(columns))
	into := make([]any, len(columns))
	for i := range row {
		into[i] = &row[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		f(row)
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// number asks for one whole number.
func (db *database) number(t testing.TB, query string) (n int) {
	t.Helper()
	d := db.open(t)
	defer d.Close()
	if err := d.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// content returns everything the database says of usage and money, as sorted lines that don't depend on ids, on the kind
// of the database, on when things happened or on how often they were tried.
func (db *database) content(t testing.TB) (lines []string) {
	t.Helper()
	d := db.open(t)
	defer d.Close()
	add := func(row ...string) { lines = append(lines, strings.Join(row, " | ")) }
	plain := func(s string) string { return money.MustParse(s).String() }

	labels := map[string]string{}
	scan(t, d, `SELECT s.id, c.scope, m.name, s.unit, CAST(s.groupby AS text), CAST(s.metadata AS text)
		FROM series s JOIN scopes c ON c.id = s.scope JOIN metrics m ON m.id = s.metric`, func(row []string) {
		labels[row[0]] = strings.Join(row[1:], " | ")
	})
	scan(t, d, "SELECT series, "+db.seconds("begins_at")+", period, seq, qty, price FROM charges", func(row []string) {
		add("charge", labels[row[0]], row[1], row[2], row[3], plain(row[4]), plain(row[5]))
	})
	for _, of := range []string{"day", "month"} {
		scan(t, d, fmt.Sprintf(`SELECT CAST(r.%s AS text), c.scope, m.name, r.unit, r.points, r.qty, r.price
			FROM scope_metric_%[1]ss r JOIN scopes c ON c.id = r.scope JOIN metrics m ON m.id = r.metric`, of), func(row []string) {
			add(of, row[0], row[1], row[2], row[3], row[4], plain(row[5]), plain(row[6]))
		})
		scan(t, d, fmt.Sprintf("SELECT CAST(%s AS text), pack FROM series_%[1]s_packs", of), func(row []string) {
			pack, err := rollup.Decode(nil, []byte(row[1]))
			if err != nil {
				t.Fatalf("a pack of %s: %v", row[0], err)
			}
			for _, e := range pack {
				add(of+" of series", row[0], labels[fmt.Sprint(e.Series)], fmt.Sprint(e.Points), e.Qty.String(), e.Price.String())
			}
		})
	}
	scan(t, d, "SELECT c.scope, "+db.seconds("w.begins_at")+`, w.period, w.state, w.points, w.unpriced, w.amount,
		COALESCE(w.config_version, 0), COALESCE(w.rules_version, 0), COALESCE(w.error, '')
		FROM windows w JOIN scopes c ON c.id = w.scope`, func(row []string) {
		row[6] = plain(row[6])
		add("window", strings.Join(row, " | "))
	})
	scan(t, d, "SELECT c.scope, "+db.seconds("f.begins_at")+", f.kind, f.metric, f.detail, f.points FROM findings f JOIN scopes c ON c.id = f.scope",
		func(row []string) { add("finding", strings.Join(row, " | ")) })
	scan(t, d, "SELECT name, COALESCE("+db.seconds("first_sample")+", 0) FROM metrics", func(row []string) { add("metric", row[0], row[1]) })
	scan(t, d, "SELECT COUNT(*) FROM superseded_charges", func(row []string) { add("superseded", row[0]) })
	slices.Sort(lines)
	return lines
}

// same fails the test if a database's content is not as wanted.
func same(t testing.TB, want, got []string) {
	t.Helper()
	if slices.Equal(want, got) {
		return
	}
	const most = 10
	var missing, extra []string
	for i, j := 0, 0; i < len(want) || j < len(got); {
		switch {
		case j == len(got) || i < len(want) && want[i] < got[j]:
			missing = append(missing, want[i])
			i++
		case i == len(want) || want[i] > got[j]:
			extra = append(extra, got[j])
			j++
		default:
			i, j = i+1, j+1
		}
	}
	show := func(lines []string) string { return "\n  " + strings.Join(lines[:min(most, len(lines))], "\n  ") }
	t.Errorf("the content differs; %d lines are missing:%s\nand %d are too many:%s", len(missing), show(missing), len(extra), show(extra))
}

// ofKind returns the lines of one kind.
func ofKind(content []string, kind string) (lines []string) {
	for _, l := range content {
		if strings.HasPrefix(l, kind+" | ") {
			lines = append(lines, l)
		}
	}
	return lines
}

// chargeBegin returns a charge's begin from its line.
func chargeBegin(t testing.TB, line string) int64 {
	t.Helper()
	cells := strings.Split(line, " | ")
	at, err := strconv.ParseInt(cells[len(cells)-5], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
