package v1

import (
	"net/http"

	"ratebook/fault"
	"ratebook/rating"
)

// threshold is a threshold as clients know it.
type threshold struct {
	ID    string      `json:"threshold_id"`
	Level string      `json:"level"`
	Type  rating.Type `json:"type"`
	Cost  string      `json:"cost"`
	belongs
}

func thresholdOf(rule *rating.RecordedRule) threshold {
	return threshold{
		ID: rule.ID, Level: fixed(rule.Level.String(), levelPlaces), Type: rule.Type, Cost: fixed(rule.Cost.String(), costPlaces),
		belongs: belongsTo(rule),
	}
}

func noThreshold(id string) error {
	return fault.New(fault.NotFound, "No such threshold: %s", clip(id))
}

func (s *server) listThresholds(r *request) error {
	if err := r.needsParent(); err != nil {
		return err
	}
	all, err := s.Rules.RuleRecords(r.Request().Context(), false)
	if err != nil {
		return err
	}
	thresholds := []threshold{}
	for i := range all {
		if all[i].Kind == rating.Threshold && r.selectsRule(&all[i]) {
			thresholds = append(thresholds, thresholdOf(&all[i]))
		}
	}
	return r.JSON(http.StatusOK, map[string]any{"thresholds": thresholds})
}

func (s *server) showThreshold(r *request) error {
	rule, err := s.ruleOf(r, rating.Threshold, "threshold_id", false)
	switch {
	case err != nil:
		return err
	case rule == nil:
		return noThreshold(r.args.text("threshold_id"))
	}
	return r.JSON(http.StatusOK, thresholdOf(rule))
}

func (s *server) showThresholdGroup(r *request) error {
	rule, err := s.ruleOf(r, rating.Threshold, "threshold_id", false)
	switch {
	case err != nil:
		return err
	case rule == nil:
		return noThreshold(r.args.text("threshold_id"))
	}
	return s.groupOf(r, rule)
}

// createThreshold makes a threshold that is valid always: in CloudKitty they have no dates.
func (s *server) createThreshold(r *request) error {
	var made rating.RecordedRule
	err := s.edit(r, func(rules *rating.Rules) (*rating.Rules, error) {
		made.Rule = rating.Rule{
			Kind: rating.Threshold, Level: r.body.number("level"), Type: rating.Flat, Cost: r.body.number("cost"), Scope: r.body.text("tenant_id"),
		}
		if r.body.has("type") {
			made.Type = rating.Type(r.body.text("type"))
		}
		if err := r.parent(rules, &made); err != nil {
			return nil, err
		}
		next, id, err := rules.Add(made.Rule)
		made.ID = id
		return next, r.named(sameThreshold(err, &made))
	})
	if err != nil {
		return err
	}
	return r.created(made.ID, thresholdOf(&made))
}

func sameThreshold(err error, rule *rating.RecordedRule) error {
	return clash(err, "Threshold", rule.Level.String(), rule)
}

// updateThreshold changes what the request has of the threshold, whatever it has priced: charges stay what they are.
func (s *server) updateThreshold(r *request) error {
	id := r.id("threshold_id")
	err := s.edit(r, func(rules *rating.Rules) (*rating.Rules, error) {
		old := recorded(rules, rating.Threshold, id)
		if old == nil {
			return nil, noThreshold(r.args.text("threshold_id"))
		}
		next := *old
		if err := r.adopt(rules, &next); err != nil {
			return nil, err
		}
		next.Level = r.body.number("level")
		if same(old, &next) {
			return rules, nil
		}
		changed, err := rules.Replace(id, next.Rule)
		return changed, r.named(sameThreshold(err, &next))
	})
	if err != nil {
		return err
	}
	return r.changed()
}

func (s *server) deleteThreshold(r *request) error {
	return r.deleted(s.remove(r, rating.Threshold, "threshold_id", noThreshold))
}
