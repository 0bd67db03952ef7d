package v1

import (
	"errors"
	"slices"
	"strings"
	"time"

	"ratebook/fault"
	"ratebook/rating"
)

// edit edits the rules on the caller's behalf.
func (s *server) edit(r *request, edit func(*rating.Rules) (*rating.Rules, error)) error {
	_, err := s.Rules.EditRules(r.Request().Context(), r.who.ID, "", edit)
	return err
}

// attributes are what the API calls the fields of rules, scripts and the like, by what Ratebook calls them.
var attributes = map[string]string{"service": "service_id", "field": "field_id", "group": "group_id", "scope": "tenant_id"}

// named turns an error about fields into one in CloudKitty's words, about the first of them.
func (r *request) named(err error) error {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Kind != fault.Invalid || len(f.Fields) == 0 {
		return err
	}
	name := f.Fields[0].Name
	if other := attributes[name]; other != "" {
		name = other
	}
	return invalid(name, r.body.shown(name), f.Fields[0].Message)
}

// shown returns the text of what was given, for messages.
func (v values) shown(name string) string {
	switch value := v[name].(type) {
	case string:
		return value
	case moment:
		return spoken(value.Time)
	case interface{ String() string }:
		return value.String()
	}
	return "None"
}

// validity is from when until when a rule or script is valid.
type validity struct{ start, end time.Time }

// newValidity returns the validity that a request asks for something new.
func (r *request) newValidity(now time.Time) (validity, error) {
	v := validity{now, r.body.end("end")}
	if r.body.has("start") {
		v.start = r.body.time("start")
	}
	return v, v.check(now, r.args.flag("force"))
}

// check refuses a start in the past, unless forced, and an end that is not after it.
func (v validity) check(now time.Time, force bool) error {
	switch {
	case !force && v.start.Before(now):
		return fault.New(fault.Invalid, "Cannot create a rule with start in the past. start=[%s] current time=[%s].", spoken(v.start), spoken(now))
	case !v.end.IsZero() && !v.end.After(v.start):
		return fault.New(fault.Invalid, "Cannot create a rule with start after end. start=[%s] end=[%s].", spoken(v.start), spoken(v.end))
	}
	return nil
}

// change returns the validity that a request asks for something that has one. What has no start, which clients see as epoch,
// keeps having none.
func (r *request) change(old validity) validity {
	v := old
	if r.body.has("start") {
		if start := r.body.time("start"); !start.Equal(shownStart(old.start)) {
			v.start = start
		}
	}
	if r.body.given("end") {
		v.end = r.body.end("end")
	}
	return v
}

// equal reports whether v and o are the same.
func (v validity) equal(o validity) bool { return v.start.Equal(o.start) && v.end.Equal(o.end) }

// onlyEnd refuses all changes but a new end, of what has priced committed windows: changed is whether there are others.
func onlyEnd(old, next validity, changed bool, now time.Time) error {
	switch {
	case !old.end.IsZero():
		return fault.New(fault.Invalid, "Cannot update a rule that was already processed and has a defined end date.")
	case changed || !next.start.Equal(old.start):
		return fault.New(fault.Invalid, "You are allowed to update only the attribute [end] as this rule is already running as it started on [%s]",
			spoken(shownStart(old.start)))
	case next.end.Before(now):
		return fault.New(fault.Invalid, "End date must be in the future. end=[%s] current time=[%s]", spoken(next.end), spoken(now))
	}
	return nil
}

// shownStart returns the start that clients see: they expect that there is one.
func shownStart(start time.Time) time.Time {
	if start.IsZero() {
		return time.Unix(0, 0).UTC()
	}
	return start
}

// record is what clients see of who did what to a rule or script, and of its validity.
type record struct {
	CreatedAt   string  `json:"created_at"`
	Start       string  `json:"start"`
	End         *string `json:"end"`
	Name        string  `json:"name"`
	Description *string `json:"description"`
	Deleted     *string `json:"deleted"`
	CreatedBy   string  `json:"created_by"`
	UpdatedBy   *string `json:"updated_by"`
	DeletedBy   *string `json:"deleted_by"`
}

func recordOf(r *rating.Record, v validity, name, description string) record {
	return record{
		CreatedAt: naive(r.Created), Start: naive(shownStart(v.start)), End: timeOr(v.end), Name: name, Description: textOr(description),
		Deleted: timeOr(r.Deleted), CreatedBy: r.CreatedBy, UpdatedBy: textOr(r.UpdatedBy), DeletedBy: textOr(r.DeletedBy),
	}
}

// textOr returns a text, or nil for the empty one.
func textOr(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// timeOr returns a time's text, or nil for none.
func timeOr(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := naive(t)
	return &s
}

// selects reports whether a request's filters keep something with this record.
func (r *request) selects(record *rating.Record, v validity, description string, now time.Time) bool {
	at := now
	active := r.args.flag("is_active")
	if r.args.has("is_active") && !r.args.time("is_active").IsZero() {
		active, at = true, r.args.time("is_active")
	}
	is := func(name, value string) bool { return r.args.text(name) == "" || r.args.text(name) == value }
	switch {
	case !record.Deleted.IsZero() && (active || !r.args.flag("deleted")),
		active && (v.start.After(at) || !v.end.IsZero() && !v.end.After(at)),
		!is("created_by", record.CreatedBy), !is("updated_by", record.UpdatedBy), !is("deleted_by", record.DeletedBy),
		r.args.has("start") && shownStart(v.start).Before(r.args.time("start")),
		r.args.has("end") && (v.end.IsZero() || !v.end.Before(r.args.time("end"))):
		return false
	}
	return strings.Contains(strings.ToLower(description), strings.ToLower(r.args.text("description")))
}

// find returns the one that is the request's, or nil.
func find[T any](all []T, is func(*T) bool) *T {
	if i := slices.IndexFunc(all, func(one T) bool { return is(&one) }); i >= 0 {
		return &all[i]
	}
	return nil
}
