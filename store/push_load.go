package store

import (
	"context"
	"strconv"
	"time"
)

const pushedColumns = "scope, begins_at, period, series, seq, qty, price, push"

// copyPushed loads charges of a push by PostgreSQL's COPY.
func copyPushed(ctx context.Context, t *tx, push int64, charges []pushedCharge) error {
	c, err := startCopy(ctx, t, "charges", pushedColumns)
	if err != nil {
		return err
	}
	defer c.close()
	end := append(strconv.AppendInt([]byte{'\t'}, push, 10), '\n')
	for i := range charges {
		p := &charges[i]
		b := append(strconv.AppendInt(c.rows, p.scope, 10), '\t')
		b = append(time.Unix(p.begin, 0).UTC().AppendFormat(b, time.RFC3339), '\t')
		for _, n := range [...]int64{p.period, p.series.id, int64(p.seq)} {
			b = append(strconv.AppendInt(b, n, 10), '\t')
		}
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
