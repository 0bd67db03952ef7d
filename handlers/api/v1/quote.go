package v1

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/rating"
)

// quoted is usage that a quote is asked for.
type quoted struct {
	service  string
	groupby  metering.Attributes
	metadata metering.Attributes
	volume   money.Decimal
}

// quote sums what usage would cost now, by the rules that are for every scope.
func (s *server) quote(r *request) error {
	ctx := r.Request().Context()
	begin := s.now() // by the rules that are valid now, as in CloudKitty, also if a window that begins now is none
	f := &rating.Frame{Scope: &metering.Scope{}, Begin: begin, End: begin.Add(s.Settings.Period)}
	metrics := map[string]*metering.Metric{}
	for _, q := range r.body["resources"].(quotedList) {
		if metrics[q.service] == nil {
			metrics[q.service] = &metering.Metric{Name: q.service, Unit: "undef"}
		}
		series := &metering.Series{Scope: f.Scope, Metric: metrics[q.service], Groupby: q.groupby, Metadata: q.metadata}
		f.Points = append(f.Points, rating.Point{Series: series, Qty: q.volume})
	}
	err := s.Quotes.Quote(ctx, f)
	if failed, ok := errors.AsType[*rating.ScriptError](err); ok {
		if !r.who.ReadsAll() { // what scripts are is not for everyone
			return fault.Wrap(fault.Conflict, err, "A rating script fails, so nothing can be quoted; whoever runs Ratebook can see why.")
		}
		return fault.Wrap(fault.Conflict, err, "A rating script fails, so nothing can be quoted: %s", failed.Error())
	}
	if err != nil {
		return err
	}
	var sum money.Decimal
	for i := range f.Points {
		sum = sum.Add(f.Points[i].Price)
	}
	return r.JSON(http.StatusOK, quoteText(sum))
}

// quoteText writes an amount as CloudKitty computes it: with 28 digits, but 0 as it is.
func quoteText(d money.Decimal) string {
	if d.IsZero() {
		return "0"
	}
	whole, _, _ := strings.Cut(strings.TrimLeft(d.String(), "-0"), ".")
	return fixed(d.String(), costPlaces-len(whole))
}

// quotedList is what a quote is asked for.
type quotedList []quoted

// mostResources is how many resources a quote may have, so that nobody's quote keeps scripts long from what others ask.
const mostResources = 10_000

// decodeResources reads what a quote is asked for.
func decodeResources(raw json.RawMessage) (any, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, &badValue{string(raw), "Wrong type. Expected 'list', got '" + kindOf(raw) + "'"}
	}
	if len(list) > mostResources {
		return nil, fault.New(fault.Invalid, "A quote can be asked for %d resources, not for %d. Ask for several quotes.", mostResources, len(list))
	}
	body := content{Name: "res_data", Attributes: []argument{
		{Name: "service", Required: true}, {Name: "desc", Type: Ignored}, {Name: "volume", Type: Decimal, Required: true},
	}}
	quotes := make(quotedList, len(list))
	for i, one := range list {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(one, &object); err != nil || object == nil {
			return nil, &badValue{string(one), "Wrong type. Expected 'dict', got '" + kindOf(one) + "'"}
		}
		v, err := body.read(object)
		if err != nil {
			return nil, err
		}
		q := &quotes[i]
		q.service, q.volume = v.text("service"), v.number("volume").Round(money.QtyPlaces)
		if err := q.describe(object["desc"]); err != nil {
			return nil, err
		}
	}
	return quotes, nil
}

// describe reads the attributes: those that are neither groupby nor metadata are not looked at, as in CloudKitty.
func (q *quoted) describe(raw json.RawMessage) (err error) {
	desc, err := members("desc", raw)
	if err != nil {
		return err
	}
	if q.groupby, err = attributesOf("desc.groupby", desc["groupby"]); err != nil {
		return err
	}
	q.metadata, err = attributesOf("desc.metadata", desc["metadata"])
	return err
}

// members returns the members of a JSON object; of nothing, none.
func members(name string, raw json.RawMessage) (object map[string]json.RawMessage, err error) {
	if len(raw) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, invalid(name, string(raw), "Wrong type. Expected 'dict', got '"+kindOf(raw)+"'")
	}
	return object, nil
}

// attributesOf reads attributes. Values that are no texts are taken as Python writes them.
func attributesOf(name string, raw json.RawMessage) (metering.Attributes, error) {
	object, err := members(name, raw)
	if err != nil {
		return nil, err
	}
	var attributes metering.Attributes
	for key, value := range object {
		attributes = append(attributes, metering.Attribute{Name: key, Value: python(value)})
	}
	attributes.Sort()
	return attributes, nil
}

func python(raw json.RawMessage) string {
	switch string(raw) {
	case "true":
		return "True"
	case "false":
		return "False"
	case "null":
		return "None"
	}
	if raw[0] == '"' {
		var text string
		if json.Unmarshal(raw, &text) == nil {
			return text
		}
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}
