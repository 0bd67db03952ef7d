package v1

import (
	"net/http"

	"ratebook/fault"
	"ratebook/rating"
)

// script is a script as clients know it.
type script struct {
	ID       string  `json:"script_id"`
	Data     *string `json:"data,omitempty"`
	Checksum string  `json:"checksum"`
	record
}

func scriptOf(one *rating.RecordedScript) script {
	return script{
		ID: one.ID, Data: &one.Data, Checksum: one.Checksum(),
		record: recordOf(&one.Record, validity{one.Start, one.End}, one.Name, one.Description),
	}
}

func noScript(id string) error {
	return fault.New(fault.NotFound, "No such script: None (UUID: %s)", clip(id))
}

func (s *server) listScripts(r *request) error {
	all, err := s.Rules.ScriptRecords(r.Request().Context(), r.args.flag("deleted"))
	if err != nil {
		return err
	}
	scripts := []script{}
	for i := range all {
		one := &all[i]
		if !r.selects(&one.Record, validity{one.Start, one.End}, one.Description, s.now()) {
			continue
		}
		shown := scriptOf(one)
		if r.args.flag("no_data") {
			shown.Data = nil
		}
		scripts = append(scripts, shown)
	}
	return r.JSON(http.StatusOK, map[string]any{"scripts": scripts})
}

func (s *server) showScript(r *request) error {
	one, err := s.scriptOf(r)
	if err != nil {
		return err
	}
	return r.JSON(http.StatusOK, scriptOf(one))
}

// scriptOf returns the script that the request names.
func (s *server) scriptOf(r *request) (*rating.RecordedScript, error) {
	all, err := s.Rules.ScriptRecords(r.Request().Context(), false)
	if err != nil {
		return nil, err
	}
	one := find(all, func(one *rating.RecordedScript) bool { return one.ID == r.id("script_id") })
	if one == nil {
		return nil, noScript(r.args.text("script_id"))
	}
	return one, nil
}

// createScript makes a script, also one that does not compile.
func (s *server) createScript(r *request) error {
	now := s.now()
	valid, err := r.newValidity(now)
	if err != nil {
		return err
	}
	made := rating.RecordedScript{Record: rating.Record{Created: now, CreatedBy: r.who.ID}, Script: rating.Script{
		Name: r.body.text("name"), Data: r.body.text("data"), Start: valid.start, End: valid.end, Description: r.body.text("description"),
	}}
	err = s.edit(r, func(rules *rating.Rules) (next *rating.Rules, err error) {
		next, made.ID, err = rules.AddScript(made.Script)
		if fault.KindOf(err) == fault.Conflict {
			return nil, exists("Script", made.Name, made.ID)
		}
		return next, r.named(err)
	})
	if err != nil {
		return err
	}
	return r.created(made.ID, scriptOf(&made))
}

// updateScript changes what the request has of the script. If an end or a description is missing, the script has none any
// more, unless it has priced something.
func (s *server) updateScript(r *request) error {
	id, now := r.id("script_id"), s.now()
	priced, err := s.priced(r, id)
	if err != nil {
		return err
	}
	err = s.edit(r, func(rules *rating.Rules) (*rating.Rules, error) {
		old, err := rules.Script(id)
		if err != nil {
			return nil, noScript(r.args.text("script_id"))
		}
		next := *old
		next.Name = r.body.text("name")
		if r.body.has("data") {
			next.Data = r.body.text("data")
		}
		before := validity{old.Start, old.End}
		after := r.change(before)
		if r.body.given("description") || !priced {
			next.Description = r.body.text("description")
		}
		if !priced && !r.body.given("end") {
			after.end = validity{}.end
		}
		unchanged := next.Name == old.Name && next.Data == old.Data && next.Description == old.Description
		if unchanged && before.equal(after) {
			return rules, nil
		}
		if priced {
			if err := onlyEnd(before, after, !unchanged, now); err != nil {
				return nil, err
			}
		} else if err := after.check(now, after.start.Equal(before.start)); err != nil {
			return nil, err
		}
		next.Start, next.End = after.start, after.end
		changed, err := rules.ReplaceScript(id, next)
		if fault.KindOf(err) == fault.Conflict {
			other := find(rules.Scripts, func(o *rating.Script) bool { return o.Name == next.Name && o.ID != id })
			return nil, exists("Script", next.Name, other.ID)
		}
		return changed, r.named(err)
	})
	if err != nil {
		return err
	}
	one, err := s.scriptOf(r)
	if err != nil {
		return err
	}
	return r.created(one.ID, scriptOf(one))
}

func (s *server) deleteScript(r *request) error {
	err := s.edit(r, func(rules *rating.Rules) (*rating.Rules, error) {
		next, err := rules.RemoveScript(r.id("script_id"))
		if fault.KindOf(err) == fault.NotFound {
			return nil, noScript(r.args.text("script_id"))
		}
		return next, err
	})
	return r.deleted(err)
}
