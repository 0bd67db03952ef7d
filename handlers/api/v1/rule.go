package v1

import (
	"net/http"
	"strings"

	"ratebook/fault"
	"ratebook/rating"
)

// The digits that CloudKitty's tables have behind the point.
const (
	costPlaces  = 28
	levelPlaces = 8
)

// belongs says what a rule belongs to; of service and field it has one.
type belongs struct {
	Service *string `json:"service_id"`
	Field   *string `json:"field_id"`
	Group   *string `json:"group_id"`
	Tenant  *string `json:"tenant_id"`
}

func belongsTo(rule *rating.RecordedRule) belongs {
	b := belongs{Field: textOr(rule.FieldID), Group: textOr(rule.GroupID), Tenant: textOr(rule.Scope)}
	if b.Field == nil {
		b.Service = textOr(rule.ServiceID)
	}
	return b
}

// parent finds what a new rule belongs to.
func (r *request) parent(rules *rating.Rules, rule *rating.RecordedRule) error {
	rule.ServiceID, rule.FieldID = r.body.text("service_id"), r.body.text("field_id")
	switch {
	case rule.ServiceID != "" && rule.FieldID != "":
		return fault.New(fault.Invalid, "You can only specify one parent.")
	case rule.FieldID != "":
		f, s, err := rules.Field(rule.FieldID)
		if err != nil {
			return noField(fault.Invalid, rule.FieldID)
		}
		rule.Service, rule.Field = s.Name, f.Name
	case rule.ServiceID != "":
		s, err := rules.Service(rule.ServiceID)
		if err != nil {
			return noService(fault.Invalid, rule.ServiceID)
		}
		rule.Service = s.Name
	default:
		return fault.New(fault.Invalid, "You must specify one parent.")
	}
	return r.group(rules, rule)
}

// group finds the group that a rule shall have, if the request says.
func (r *request) group(rules *rating.Rules, rule *rating.RecordedRule) error {
	if !r.body.given("group_id") {
		return nil
	}
	rule.GroupID, rule.Group = r.body.text("group_id"), ""
	if rule.GroupID != "" {
		g, err := rules.Group(rule.GroupID)
		if err != nil {
			return noGroup(fault.Invalid, rule.GroupID)
		}
		rule.Group = g.Name
	}
	return nil
}

// adopt gives a rule what the request says of any kind of rule, but for its parent, which must be what it is.
func (r *request) adopt(rules *rating.Rules, rule *rating.RecordedRule) error {
	shown := belongsTo(rule)
	for name, have := range map[string]*string{"service_id": shown.Service, "field_id": shown.Field} {
		if want := r.body.text(name); want != "" && (have == nil || *have != want) {
			return invalid(name, want, "A rule stays with its parent; delete it and make another one.")
		}
	}
	if err := r.group(rules, rule); err != nil {
		return err
	}
	rule.Cost = r.body.number("cost")
	if r.body.has("type") {
		rule.Type = rating.Type(r.body.text("type"))
	}
	if r.body.given("tenant_id") {
		rule.Scope = r.body.text("tenant_id")
	}
	return nil
}

// recorded returns a rule of the latest rules with the ids that it refers to, or nil.
func recorded(rules *rating.Rules, kind rating.Kind, id string) *rating.RecordedRule {
	rule, err := rules.Rule(id)
	if err != nil || rule.Kind != kind {
		return nil
	}
	all := &rating.RecordedRule{Rule: *rule}
	if s := find(rules.Services, func(s *rating.Service) bool { return s.Name == rule.Service }); s != nil {
		all.ServiceID = s.ID
		if f := find(s.Fields, func(f *rating.Field) bool { return f.Name == rule.Field }); f != nil {
			all.FieldID = f.ID
		}
	}
	if g := find(rules.Groups, func(g *rating.Group) bool { return g.Name == rule.Group }); g != nil {
		all.GroupID = g.ID
	}
	return all
}

// same reports whether two rules are the same, whenever they are valid and whatever is said about them.
func same(a, b *rating.RecordedRule) bool {
	return a.Value == b.Value && a.Level.Equal(b.Level) && a.Type == b.Type && a.Cost.Equal(b.Cost) &&
		a.Group == b.Group && a.Scope == b.Scope && a.Name == b.Name
}

// clash turns a conflict into CloudKitty's words.
func clash(err error, what, value string, rule *rating.RecordedRule) error {
	if fault.KindOf(err) != fault.Conflict {
		return err
	}
	parent, parentID := "service", rule.ServiceID
	if rule.FieldID != "" {
		parent, parentID = "field", rule.FieldID
	}
	return fault.New(fault.Conflict, "%s '%s' already exists for %s '%s', tenant: '%s'", what, clip(value), parent, parentID, clip(orNone(rule.Scope)))
}

func orNone(s string) string {
	if s == "" {
		return "None"
	}
	return s
}

// selectsRule reports whether a request's filters keep a rule.
func (r *request) selectsRule(rule *rating.RecordedRule) bool {
	shown := belongsTo(rule)
	for name, have := range map[string]*string{"service_id": shown.Service, "field_id": shown.Field, "group_id": shown.Group} {
		if want := r.id(name); want != "" && (have == nil || *have != want) {
			return false
		}
	}
	return (!r.args.flag("no_group") || rule.GroupID == "") &&
		(!r.args.flag("filter_tenant") || rule.Scope == r.args.text("tenant_id"))
}

// ruleOf returns the rule that an argument names; nil if there is none.
func (s *server) ruleOf(r *request, kind rating.Kind, name string, deleted bool) (*rating.RecordedRule, error) {
	all, err := s.Rules.RuleRecords(r.Request().Context(), deleted)
	if err != nil {
		return nil, err
	}
	return find(all, func(rule *rating.RecordedRule) bool { return rule.ID == r.id(name) && rule.Kind == kind }), nil
}

// groupOf answers with the group of a rule.
func (s *server) groupOf(r *request, rule *rating.RecordedRule) error {
	rules, err := s.Rules.Rules(r.Request().Context(), 0)
	if err != nil {
		return err
	}
	g, err := rules.Group(rule.GroupID)
	if err != nil {
		kind := string(rule.Kind)
		return fault.New(fault.NotFound, "%s has no group (UUID: %s)", strings.ToUpper(kind[:1])+kind[1:], rule.ID)
	}
	return r.JSON(http.StatusOK, group(*g))
}

// needsParent refuses to list everything.
func (r *request) needsParent() error {
	if r.args.text("service_id") == "" && r.args.text("field_id") == "" && r.args.text("group_id") == "" {
		return fault.New(fault.Invalid, "You must specify either service_uuid, field_uuid or group_uuid.")
	}
	return nil
}

// fixed returns the text of a decimal with exactly so many digits behind the point, or more if it has more.
func fixed(text string, places int) string {
	whole, decimals, _ := strings.Cut(text, ".")
	if places > len(decimals) {
		decimals += strings.Repeat("0", places-len(decimals))
	}
	if decimals == "" {
		return whole
	}
	return whole + "." + decimals
}
