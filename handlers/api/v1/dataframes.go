package v1

import (
	"bufio"
	"encoding/json"
	"net/http"

	"github.com/labstack/echo/v4"

	"ratebook/costs"
	"ratebook/web"
)

// frame is the data points that a tenant has of a metric and an interval, as clients know them.
type frame struct {
	Begin     string     `json:"begin"`
	End       string     `json:"end"`
	TenantID  string     `json:"tenant_id"`
	Resources []resource `json:"resources"`
}

// resource is a rated data point.
type resource struct {
	Service string          `json:"service"`
	Desc    json.RawMessage `json:"desc"`
	Volume  string          `json:"volume"`
	Rating  string          `json:"rating"`
}

// dataFrames streams all that is asked for, however much that is.
func (s *server) dataFrames(r *request) error {
	tenant, err := r.tenant(false, "storage:list_data_frames")
	if err != nil {
		return err
	}
	q := &costs.FrameQuery{Range: s.between(r), Filters: filters(tenant, r.args.text("resource_type"))}
	out := &frameWriter{to: r.Context}
	if !q.Range.Empty() {
		if _, err := s.Charges.Frames(web.Stream(r.Context), q, out.frame); err != nil {
			return err
		}
	}
	return out.end()
}

// frameWriter writes a list of frames. Nothing is written before there is one, so that errors can still be told.
type frameWriter struct {
	to  echo.Context
	out *bufio.Writer
}

func (w *frameWriter) write(text string) error {
	if w.out == nil {
		w.to.Response().Header().Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
		w.to.Response().WriteHeader(http.StatusOK)
		w.out = bufio.NewWriterSize(w.to.Response(), 1<<16)
	}
	_, err := w.out.WriteString(text)
	return err
}

// frame writes a frame: one entry for each metric.
func (w *frameWriter) frame(f *costs.Frame) error {
	for rest := f.Points; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].Metric == rest[0].Metric {
			n++
		}
		if err := w.entry(f, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

func (w *frameWriter) entry(f *costs.Frame, points []costs.Point) error {
	before := ","
	if w.out == nil {
		before = `{"dataframes":[`
	}
	entry := frame{naive(f.Begin), naive(f.End), f.Scope, make([]resource, len(points))}
	for i := range points {
		p := &points[i]
		desc, err := merged(p.Metadata, p.Groupby)
		if err != nil {
			return err
		}
		entry.Resources[i] = resource{p.Metric, desc, p.Qty.String(), p.Price.String()}
	}
	text, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	if err := w.write(before); err != nil {
		return err
	}
	_, err = w.out.Write(text)
	return err
}

// end writes the end, and all if there was no frame.
func (w *frameWriter) end() error {
	text := "]}\n"
	if w.out == nil {
		text = `{"dataframes":[]}` + "\n"
	}
	if err := w.write(text); err != nil {
		return err
	}
	return w.out.Flush()
}

// merged returns a JSON object with the members of two; those of over count where both have one.
func merged(under, over []byte) (json.RawMessage, error) {
	if len(under) <= len("{}") {
		return over, nil
	}
	if len(over) <= len("{}") {
		return under, nil
	}
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(under, &members); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(over, &members); err != nil {
		return nil, err
	}
	return json.Marshal(members)
}
