package v2

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/costs"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/web"
)

// Frames knows the rated data points one by one.
type Frames interface {
	// Frames calls yield with the frames of a page, and returns how many points all pages have.
	Frames(ctx context.Context, q *costs.FrameQuery, yield func(*costs.Frame) error) (points int64, err error)

	Push(ctx context.Context, p *metering.Push) (metering.Pushed, error)
	// PushedBefore says whether a push had come before, so that it need not be priced.
	PushedBefore(ctx context.Context, p *metering.Push) (done metering.Pushed, found bool, err error)
}

// noneFound is the error for filters that leave nothing.
func noneFound() error { return exact(fault.NotFound, "No resource found for provided filters.") }

// flushAt is how many bytes of an answer are written at a time.
const flushAt = 64 << 10

// frames writes data frames as they are read.
func (h *handler) frames(c echo.Context) error {
	var (
		pairsOf    []pair
		begin, end *time.Time
		p          page
	)
	err := queryOf(c).check(append(p.rules(), pairs("filters", true, &pairsOf), when("begin", fromISO, &begin), when("end", fromISO, &end))...)
	if err != nil {
		return err
	}
	filters, mine := h.filters(web.Caller(c), pairsOf)
	if !mine {
		return send(c, http.StatusOK, []byte(`{"total":0,"dataframes":[]}`))
	}
	q := &costs.FrameQuery{Range: h.asked(begin, end), Filters: filters, Offset: p.offset, Limit: p.limit}
	if q.Range.Empty() {
		return noneFound()
	}
	w := c.Response()
	b := append(make([]byte, 0, flushAt+flushAt/4), `{"dataframes":[`...)
	first := true
	flush := func() error {
		if !w.Committed {
			w.Header().Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
			w.WriteHeader(http.StatusOK)
		}
		_, err := w.Write(b)
		b = b[:0]
		return err
	}
	points, err := h.Frames.Frames(c.Request().Context(), q, func(f *costs.Frame) error {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendFrame(b, f)
		if len(b) < flushAt {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	if points == 0 {
		return noneFound()
	}
	b = append(strconv.AppendInt(append(b, `],"total":`...), points, 10), '}')
	return flush()
}

func appendFrame(b []byte, f *costs.Frame) []byte {
	b = append(append(b, `{"period":{"begin":"`...), iso(f.Begin)...)
	b = append(append(b, `","end":"`...), iso(f.End)...)
	b = append(b, `"},"usage":{`...)
	for i := range f.Points {
		p := &f.Points[i]
		switch {
		case i == 0:
			b = append(appendJSON(b, p.Metric), ":["...)
		case p.Metric != f.Points[i-1].Metric:
			b = append(appendJSON(append(b, "],"...), p.Metric), ":["...)
		default:
			b = append(b, ',')
		}
		b = appendJSON(append(b, `{"vol":{"unit":`...), p.Unit)
		b = p.Qty.Append(append(b, `,"qty":`...))
		b = p.Price.Append(append(b, `},"rating":{"price":`...))
		b = append(append(b, `},"groupby":`...), p.Groupby...)
		b = append(append(b, `,"metadata":`...), p.Metadata...)
		b = append(b, '}')
	}
	if len(f.Points) > 0 {
		b = append(b, ']')
	}
	return append(b, "}}"...)
}
