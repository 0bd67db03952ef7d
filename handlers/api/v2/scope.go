package v2

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/web"
)

// Scopes knows the scopes, and changes them.
type Scopes interface {
	ScopeStates(ctx context.Context) ([]metering.ScopeState, error)
	AddScope(ctx context.Context, n metering.NewScope, actor string) (*metering.ScopeState, error)
	SetScopeActive(ctx context.Context, ref int64, active bool, actor string) error
	ResetScopes(ctx context.Context, scopes []int64, from time.Time, reason, actor string) (task int64, err error)
}

// scopeInfo is a scope as it is shown.
type scopeInfo struct {
	ID            string `json:"scope_id"`
	Key           string `json:"scope_key"`
	Fetcher       string `json:"fetcher"`
	Collector     string `json:"collector"`
	LastProcessed string `json:"last_processed_timestamp"`
	Active        bool   `json:"active"`
	Toggled       string `json:"scope_activation_toggle_date"`
}

// collector is what CloudKitty would call a scope's source.
func collector(s *metering.Scope) string { return cmp.Or(s.Source.Kind, s.Source.Name) }

func fetcher(s *metering.ScopeState) string { return cmp.Or(s.Fetcher, collector(s.Scope)) }

func (h *handler) info(s *metering.ScopeState) scopeInfo {
	return scopeInfo{
		ID: s.Scope.ID, Key: s.Scope.Source.ScopeKey, Fetcher: fetcher(s), Collector: collector(s.Scope),
		LastProcessed: iso(s.LastProcessed(h.Settings.Period)), Active: s.Scope.Active, Toggled: iso(s.Toggled),
	}
}

// selection selects scopes. An empty list selects all.
type selection struct {
	ids, keys, fetchers, collectors []string
	active                          *bool
}

func (sel *selection) rules() []rule {
	return []rule{texts("scope_key", &sel.keys), texts("fetcher", &sel.fetchers), texts("collector", &sel.collectors)}
}

// matcher returns what reports whether a scope is selected.
func (sel *selection) matcher() func(s *metering.ScopeState) bool {
	one := func(values []string) func(value string) bool {
		set := make(map[string]bool, len(values)) // there may be as many as scopes
		for _, v := range values {
			set[v] = true
		}
		return func(value string) bool { return len(set) == 0 || set[value] }
	}
	id, key, fetched, collected := one(sel.ids), one(sel.keys), one(sel.fetchers), one(sel.collectors)
	return func(s *metering.ScopeState) bool {
		return id(s.Scope.ID) && key(s.Scope.Source.ScopeKey) && fetched(fetcher(s)) && collected(collector(s.Scope)) &&
			(sel.active == nil || *sel.active == s.Scope.Active)
	}
}

// chosen returns the scopes that are selected. Those of pushed points, which nothing collects, are none.
func (h *handler) chosen(ctx context.Context, sel *selection) ([]metering.ScopeState, error) {
	all, err := h.Scopes.ScopeStates(ctx)
	if err != nil {
		return nil, err
	}
	var chosen []metering.ScopeState
	matches := sel.matcher()
	for i := range all {
		if all[i].Scope.Source.Kind != metering.PushSource && matches(&all[i]) {
			chosen = append(chosen, all[i])
		}
	}
	return chosen, nil
}

func (h *handler) scopes(c echo.Context) error {
	var (
		sel    selection
		p      page
		active = -1
	)
	err := queryOf(c).check(slices.Concat(p.rules(), sel.rules(), []rule{texts("scope_id", &sel.ids), integer("active", minInt, &active)})...)
	if err != nil {
		return err
	}
	if active >= 0 {
		is := active != 0
		sel.active = &is
	}
	states, err := h.chosen(c.Request().Context(), &sel)
	if err != nil {
		return err
	}
	states = of(p, states)
	if len(states) == 0 {
		return noneFound()
	}
	results := make([]scopeInfo, 0, len(states))
	for i := range states {
		results = append(results, h.info(&states[i]))
	}
	return c.JSON(http.StatusOK, map[string]any{"results": results})
}

const (
	minInt        = -1 << 63
	scopeSelector = group("scope_selector")
	timestamp     = group("last_processed_timestamp")
)

// resetScopes makes what scopes were charged from a time on superseded, and their windows due again.
func (h *handler) resetScopes(c echo.Context) error {
	a, err := bodyOf(c)
	if err != nil {
		return err
	}
	var (
		sel  selection
		all  *bool
		from *time.Time
	)
	// python-cloudkittyclient calls it state
	at := func(name string) rule {
		read := when(name, fromISO, &from)
		return oneOf(timestamp, rule{name: name, read: func(a *argument) string {
			if string(a.raw) == "null" || string(a.raw) == `""` {
				return "" // as if it were not there
			}
			return read.read(a)
		}})
	}
	err = a.check(slices.Concat(sel.rules(), []rule{
		oneOf(scopeSelector, boolean("all_scopes", &all)), oneOf(scopeSelector, texts("scope_id", &sel.ids)), at("last_processed_timestamp"), at("state"),
	})...)
	if err != nil {
		return err
	}
	switch {
	case len(sel.ids) == 0 && (all == nil || !*all):
		return exact(fault.Invalid, "Either all_scopes or a scope_id should be specified.")
	case from == nil:
		return exact(fault.Invalid, "Variable 'last_processed_timestamp' cannot be empty/None.")
	}
	active := true
	sel.active = &active
	ctx := c.Request().Context()
	states, err := h.chosen(ctx, &sel)
	if err != nil {
		return err
	}
	if len(states) == 0 {
		return noneFound()
	}
	refs := make([]int64, 0, len(states))
	for i := range states {
		refs = append(refs, states[i].Scope.Ref)
	}
	if _, err := h.Scopes.ResetScopes(ctx, refs, *from, "PUT /v2/scope", web.Caller(c).ID); err != nil {
		return err
	}
	return accepted(c)
}

// fixed are what of a scope can't be changed: where it came from.
type fixed struct{ key, fetcher, collector string }

func (f *fixed) rules() []rule {
	return []rule{text("scope_key", &f.key), text("fetcher", &f.fetcher), text("collector", &f.collector)}
}

func (f *fixed) selection(id string) *selection {
	sel := &selection{ids: []string{id}}
	for _, one := range []struct {
		value string
		to    *[]string
	}{{f.key, &sel.keys}, {f.fetcher, &sel.fetchers}, {f.collector, &sel.collectors}} {
		if one.value != "" {
			*one.to = []string{one.value}
		}
	}
	return sel
}

// changeScope makes a scope active or inactive.
func (h *handler) changeScope(c echo.Context) error {
	a, err := bodyOf(c)
	if err != nil {
		return err
	}
	var (
		id     string
		from   fixed
		active *bool
	)
	if err := a.check(append(from.rules(), required(text("scope_id", &id)), boolean("active", &active))...); err != nil {
		return err
	}
	ctx := c.Request().Context()
	state, err := h.only(ctx, id, &from)
	if err != nil {
		return err
	}
	if active != nil && *active != state.Scope.Active {
		ref := state.Scope.Ref
		if err := h.Scopes.SetScopeActive(ctx, ref, *active, web.Caller(c).ID); err != nil {
			return err
		}
		states, err := h.Scopes.ScopeStates(ctx)
		if err != nil {
			return err
		}
		for i := range states {
			if states[i].Scope.Ref == ref {
				state = &states[i]
			}
		}
	}
	return c.JSON(http.StatusOK, h.info(state))
}

// only returns the one scope that has an id, and comes from where it is said to.
func (h *handler) only(ctx context.Context, id string, from *fixed) (*metering.ScopeState, error) {
	states, err := h.chosen(ctx, from.selection(id))
	if err != nil {
		return nil, err
	}
	switch {
	case len(states) > 1:
		return nil, exact(fault.NotFound, "Too many resources found with the same scope_id: %s.", id)
	case len(states) == 1:
		return &states[0], nil
	}
	if states, err = h.chosen(ctx, &selection{ids: []string{id}}); err != nil {
		return nil, err
	}
	if len(states) > 0 {
		s := h.info(&states[0])
		return nil, fault.New(fault.Invalid, "scope %q has the scope_key %q, the fetcher %q and the collector %q, which can't be changed; leave them out",
			id, s.Key, s.Fetcher, s.Collector)
	}
	return nil, noneFound()
}

// addScope makes a scope that nothing has found yet.
func (h *handler) addScope(c echo.Context) error {
	a, err := bodyOf(c)
	if err != nil {
		return err
	}
	var (
		id     string
		from   fixed
		active *bool
		last   *time.Time
	)
	err = a.check(append(from.rules(), required(text("scope_id", &id)), boolean("active", &active), required(when("last_processed_timestamp", fromISO, &last)))...)
	if err != nil {
		return err
	}
	if id == "" {
		return a.wrong("length of value must be at least 1", "scope_id")
	}
	ctx := c.Request().Context()
	states, err := h.chosen(ctx, from.selection(id))
	if err != nil {
		return err
	}
	exists := exact(fault.NotFound, "Cannot create a scope with an already existing scope_id: %s.", id)
	if len(states) > 0 {
		return exists
	}
	n := metering.NewScope{ID: id, Key: from.key, Source: from.collector, Fetcher: from.fetcher, Active: active == nil || *active, LastProcessed: *last}
	state, err := h.Scopes.AddScope(ctx, n, web.Caller(c).ID)
	if fault.KindOf(err) == fault.Conflict {
		return exists
	}
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, h.info(state))
}
