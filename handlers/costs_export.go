package handlers

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
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

// Each file holds a connection to the database, and pages need some too.
const (
	mostStreams    = 4 // files that are written at a time
	mostOwnStreams = 2 // of them to one user
	longestStream  = 30 * time.Minute
)

// costsStreams counts the files that are being written.
type costsStreams struct {
	mu  sync.Mutex
	all int
	of  map[string]int // by login; none has 0
}

// begin counts one more until it is ended, or says why there can't be one.
func (s *costsStreams) begin(login string) (end func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.of[login] >= mostOwnStreams:
		return nil, fault.New(fault.Unavailable, "you are exporting %d reports already; try again when one is complete", mostOwnStreams)
	case s.all >= mostStreams:
		return nil, fault.New(fault.Unavailable, "%d reports are being exported already; try again in a moment", mostStreams)
	}
	s.all++
	s.of[login]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all--
		if s.of[login]--; s.of[login] == 0 {
			delete(s.of, login)
		}
	}, nil
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
	end, err := h.streams.begin(web.User(c).Login)
	if err != nil {
		return err
	}
	defer end()
	file := &download{response: c.Response(), mediaType: mediaType, name: question.fileName(q.Bucket, kind)}
	w := open(file, q)
	var total costs.Total
	ctx, cancel := context.WithTimeout(web.Stream(c), h.longest) // whoever reads slowly, or asks for all time, ends too
	defer cancel()
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
