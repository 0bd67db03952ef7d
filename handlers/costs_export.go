package handlers

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/costs"
	"ratebook/export"
	"ratebook/fault"
	"ratebook/period"
	"ratebook/web"
)

// rowWriter writes a report.
type rowWriter interface {
	Row(costs.Row) error
	Close(costs.Total) error
}

func (h *Costs) csv(c echo.Context) error {
	return h.export(c, "csv", "text/csv; charset=utf-8", func(w io.Writer, q *costs.Query) rowWriter {
		return export.NewCSV(w, q, h.settings.Zone, h.settings.Currency)
	})
}

func (h *Costs) json(c echo.Context) error {
	return h.export(c, "json", echo.MIMEApplicationJSON, func(w io.Writer, q *costs.Query) rowWriter {
		return export.NewJSON(w, q, h.settings.Zone, h.settings.Currency)
	})
}

// export writes all rows of the report as a file while they come, with a row for each bucket only if the address asks for
// buckets. What goes wrong after the first bytes have left breaks the connection, so that no part passes for the whole.
func (h *Costs) export(c echo.Context, kind, mediaType string, open func(io.Writer, *costs.Query) rowWriter) error {
	typed, err := url.ParseQuery(c.QueryString())
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "the address is damaged: a part of its query can't be read")
	}
	question, wrong := parseCosts(typed, h.settings.Zone, h.now())
	if len(wrong) > 0 {
		err := fault.New(fault.Invalid, "the report can't be made as asked")
		err.Fields = wrong
		return err
	}
	q, ok := question.ask(web.User(c), func(q *costs.Query) {
		if !question.divided {
			q.Bucket = period.Whole
		}
	})
	select {
	case h.streams <- struct{}{}:
		defer func() { <-h.streams }()
	default:
		return fault.New(fault.Unavailable, "%d reports are being exported already; try again in a moment", cap(h.streams))
	}
	file := &download{response: c.Response(), mediaType: mediaType, name: question.fileName(q.Bucket, kind)}
	w := open(file, q)
	var total costs.Total
	ctx := web.Stream(c)
	if ok { // else there is nothing this user may ask for
		if total, err = h.reports.Report(ctx, q, w.Row); err != nil {
			return err
		}
	}
	return w.Close(total)
}

// download is a file on its way to a browser. Nothing is said before its first bytes, so that an error before can be.
type download struct {
	response        *echo.Response
	mediaType, name string
}

// Write sends b at once.
func (d *download) Write(b []byte) (int, error) {
	if !d.response.Committed {
		header := d.response.Header()
		header.Set(echo.HeaderContentType, d.mediaType)
		header.Set(echo.HeaderContentDisposition, fmt.Sprintf(`attachment; filename="%s"`, d.name))
		d.response.WriteHeader(http.StatusOK)
	}
	n, err := d.response.Write(b)
	if err == nil {
		d.response.Flush()
	}
	return n, err
}

// fileName says what is in the file: its days, groups and buckets. It has only characters that no system minds.
func (q *costsQuestion) fileName(bucket period.Bucket, kind string) string {
	const mostLength = 100
	first, last, _ := q.days()
	name := "costs-" + first.Format(time.DateOnly) + "-to-" + last.Format(time.DateOnly)
	if len(q.groups) > 0 {
		name += "-by-" + strings.Join(q.groups, "-and-")
	}
	if bucket != period.Whole {
		name += "-per-" + bucket.String()
	}
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return '-'
	}, name)
	return name[:min(len(name), mostLength)] + "." + kind
}
