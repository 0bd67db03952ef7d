package store

import (
	"context"
	"slices"
	"strconv"
	"time"
)

const pushedColumns = "scope, begins_at, period, series, seq, qty, price, push"

// copyPushed loads charges of a push by PostgreSQL's COPY, those of each month straight into their partition.
func copyPushed(ctx context.Context, t *tx, push int64, charges []pushedCharge) error {
	months := map[int64][]*pushedCharge{} // by their beginnings; each in the order of the charges
	var p partition
	for i := range charges {
		c := &charges[i]
		if c.begin < p.begin.Unix() || c.begin >= p.end.Unix() {
			p = partitionOf(time.Unix(c.begin, 0))
		}
		months[p.begin.Unix()] = append(months[p.begin.Unix()], c)
	}
	ordered := keys(months)
	slices.Sort(ordered)
	for _, month := range ordered {
		if err := copyMonth(ctx, t, partitionOf(time.Unix(month, 0)).table, push, months[month]); err != nil {
			return err
		}
	}
	return nil
}

func copyMonth(ctx context.Context, t *tx, table string, push int64, charges []*pushedCharge) error {
	c, err := startCopy(ctx, t, table, pushedColumns)
	if err != nil {
		return err
	}
	defer c.close()
	end := append(strconv.AppendInt([]byte{'\t'}, push, 10), '\n')
	var (
		last *pushedCharge
		same []byte // its text up to the series
	)
	for _, p := range charges {
		if last == nil || p.scope != last.scope || p.begin != last.begin || p.period != last.period {
			same = append(strconv.AppendInt(same[:0], p.scope, 10), '\t')
			same = append(time.Unix(p.begin, 0).UTC().AppendFormat(same, time.RFC3339), '\t')
			same = append(strconv.AppendInt(same, p.period, 10), '\t')
		}
		last = p
		b := append(c.rows, same...)
		b = append(strconv.AppendInt(b, p.series.id, 10), '\t')
		b = append(strconv.AppendInt(b, int64(p.seq), 10), '\t')
		b = append(p.qty.Append(b), '\t')
		if err := c.row(ctx, append(p.price.Append(b), end...)); err != nil {
			return err
		}
	}
	return c.done(ctx)
}

// insertPushed loads them by statements of many rows.
func insertPushed(ctx context.Context, t *tx, push int64, charges []pushedCharge) error {
	values := make([]any, 0, 8*min(insertBlock, len(charges)))
	for i := range charges {
		p := &charges[i]
		values = append(values, p.scope, p.begin, p.period, p.series.id, p.seq, p.qty.String(), p.price.String(), push)
		if len(values) == cap(values) || i == len(charges)-1 {
			if err := t.insertRows(ctx, "INSERT INTO charges ("+pushedColumns+")", "", 8, values); err != nil {
				return err
			}
			values = values[:0]
		}
	}
	return nil
}
