package v1

import (
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"ratebook/fault"
	"ratebook/rating"
)

// mapping is a mapping as clients know it.
type mapping struct {
	ID    string      `json:"mapping_id"`
	Value *string     `json:"value"`
	Type  rating.Type `json:"type"`
	Cost  string      `json:"cost"`
	belongs
	record
}

func mappingOf(rule *rating.RecordedRule) mapping {
	return mapping{
		ID: rule.ID, Value: textOr(rule.Value), Type: rule.Type, Cost: fixed(rule.Cost.String(), costPlaces), belongs: belongsTo(rule),
		record: recordOf(&rule.Record, validity{rule.Start, rule.End}, shownName(&rule.Rule), rule.Description),
	}
}

// shownName returns the name of a rule that clients see: they expect that there is one.
func shownName(rule *rating.Rule) string {
	if rule.Name == "" {
		return strings.ReplaceAll(rule.ID, "-", "")
	}
	return rule.Name
}

func noMapping(id string) error { return fault.New(fault.NotFound, "No such mapping: %s", clip(id)) }

func (s *server) listMappings(r *request) error {
	if r.args.has("all") && !r.args.flag("all") {
		if err := r.needsParent(); err != nil {
			return err
		}
	}
	all, err := s.Rules.RuleRecords(r.Request().Context(), r.args.flag("deleted"))
	if err != nil {
		return err
	}
	mappings := []mapping{}
	for i := range all {
		rule := &all[i]
		if rule.Kind == rating.Mapping && r.selectsRule(rule) && r.selects(&rule.Record, validity{rule.Start, rule.End}, rule.Description, s.now()) {
			mappings = append(mappings, mappingOf(rule))
		}
	}
	return r.JSON(http.StatusOK, map[string]any{"mappings": mappings})
}

// showMapping shows also one that was deleted.
func (s *server) showMapping(r *request) error {
	rule, err := s.ruleOf(r, rating.Mapping, "mapping_id", true)
	switch {
	case err != nil:
		return err
	case rule == nil:
		return noMapping(r.args.text("mapping_id"))
	}
	return r.JSON(http.StatusOK, mappingOf(rule))
}

func (s *server) showMappingGroup(r *request) error {
	rule, err := s.ruleOf(r, rating.Mapping, "mapping_id", false)
	switch {
	case err != nil:
		return err
	case rule == nil:
		return noMapping(r.args.text("mapping_id"))
	}
	return s.groupOf(r, rule)
}

func (s *server) createMapping(r *request) error {
	now := s.now()
	valid, err := r.newValidity(now)
	if err != nil {
		return err
	}
	made := rating.RecordedRule{Record: rating.Record{Created: now, CreatedBy: r.who.ID}}
	err = s.edit(r, func(rules *rating.Rules) (*rating.Rules, error) {
		made.Rule = rating.Rule{
			Kind: rating.Mapping, Value: r.body.text("value"), Type: rating.Flat, Cost: r.body.number("cost"), Scope: r.body.text("tenant_id"),
			Start: valid.start, End: valid.end, Name: r.body.text("name"), Description: r.body.text("description"),
		}
		if r.body.has("type") {
			made.Type = rating.Type(r.body.text("type"))
		}
		if made.Name == "" {
			made.Name = strings.ReplaceAll(uuid.NewString(), "-", "")
		}
		if err := r.parent(rules, &made); err != nil {
			return nil, err
		}
		switch {
		case made.FieldID != "" && made.Value == "":
			return nil, fault.New(fault.Invalid, "You must specify a value for a field mapping.")
		case made.FieldID == "" && made.Value != "":
			return nil, fault.New(fault.Invalid, "You can't specify a value and a service_id.")
		case nameTaken(rules, &made.Rule):
			return nil, sameMapping(fault.New(fault.Conflict, "the name is taken"), &made)
		}
		next, id, err := rules.Add(made.Rule)
		made.ID = id
		return next, r.named(sameMapping(err, &made))
	})
	if err != nil {
		return err
	}
	return r.created(made.ID, mappingOf(&made))
}

// nameTaken reports whether another mapping has the name.
func nameTaken(rules *rating.Rules, rule *rating.Rule) bool {
	return slices.ContainsFunc(rules.Hashmap, func(o rating.Rule) bool {
		return o.Kind == rating.Mapping && o.Name == rule.Name && o.ID != rule.ID
	})
}

func sameMapping(err error, rule *rating.RecordedRule) error {
	return clash(err, "Mapping", orNone(rule.Value), rule)
}

// updateMapping changes what the request has of the mapping. If an end or a description is missing, the mapping has none
// any more, unless it has priced something.
func (s *server) updateMapping(r *request) error {
	ctx, id, now := r.Request().Context(), r.id("mapping_id"), s.now()
	priced, err := s.priced(r, id)
	if err != nil {
		return err
	}
	_, err = s.Rules.EditRules(ctx, r.who.ID, "", func(rules *rating.Rules) (*rating.Rules, error) {
		old := recorded(rules, rating.Mapping, id)
		if old == nil {
			return nil, noMapping(r.args.text("mapping_id"))
		}
		next := *old
		if err := r.adopt(rules, &next); err != nil {
			return nil, err
		}
		if value := r.body.text("value"); value != "" {
			next.Value = value
		}
		if name := r.body.text("name"); name != "" && name != shownName(&old.Rule) {
			next.Name = name
		}
		before := validity{old.Start, old.End}
		after := r.change(before)
		if r.body.given("description") || !priced {
			next.Description = r.body.text("description")
		}
		if !priced && !r.body.given("end") {
			after.end = validity{}.end
		}
		unchanged := same(old, &next) && next.Description == old.Description
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
		switch {
		case next.FieldID == "" && next.Value != "":
			return nil, fault.New(fault.Invalid, "You can't specify a value and a service_id.")
		case next.Name != old.Name && nameTaken(rules, &next.Rule):
			return nil, sameMapping(fault.New(fault.Conflict, "the name is taken"), &next)
		}
		changed, err := rules.Replace(id, next.Rule)
		return changed, r.named(sameMapping(err, &next))
	})
	if err != nil {
		return err
	}
	return r.changed()
}

// priced reports whether a rule or script has priced something that is stored: one that begins in the future may have priced
// points that were pushed for then. What is not there has not.
func (s *server) priced(r *request, id string) (bool, error) {
	priced, err := s.Rules.HasPriced(r.Request().Context(), id)
	if fault.KindOf(err) == fault.NotFound {
		return false, nil
	}
	return priced, err
}

func (s *server) deleteMapping(r *request) error {
	return r.deleted(s.remove(r, rating.Mapping, "mapping_id", noMapping))
}

// remove deletes the rule that an argument names.
func (s *server) remove(r *request, kind rating.Kind, name string, missing func(id string) error) error {
	return s.edit(r, func(rules *rating.Rules) (*rating.Rules, error) {
		if recorded(rules, kind, r.id(name)) == nil {
			return nil, missing(r.args.text(name))
		}
		return rules.Remove(r.id(name))
	})
}
