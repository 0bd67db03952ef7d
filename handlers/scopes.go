package handlers

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"ratebook/metering"
	"ratebook/period"
	"ratebook/web"
)

// ScopesStore is what the pages of scopes need of the store.
type ScopesStore interface {
	costSums
	scopeStates
	Windows(ctx context.Context, scope int64, r period.Range) ([]metering.Window, error)
}

// Scopes is the area of those who are charged.
type Scopes struct {
	store ScopesStore
	sums  sums
	cal   calendar
	log   *slog.Logger
}

// NewScopes returns the area. waitPeriods is how many periods after a window's begin it is due.
func NewScopes(store ScopesStore, settings *metering.Settings, waitPeriods int, now func() time.Time, log *slog.Logger) *Scopes {
	return &Scopes{store: store, sums: sums{store: store}, cal: calendar{settings, waitPeriods, now}, log: log}
}

// Routes says what the area answers.
func (h *Scopes) Routes(r *web.Router) {
	r.Tenant.GET("/scopes", h.List)
	r.Tenant.GET("/scopes/:ref", h.Show)
}

func scopePath(s *metering.Scope) string { return "/scopes/" + strconv.FormatInt(s.Ref, 10) }

// scopeName returns what people call a scope.
func scopeName(s *metering.Scope) string {
	if s.Name != "" {
		return s.Name
	}
	return s.ID
}

// scopesOf returns the scopes that states are of.
func scopesOf(states []metering.ScopeState) []*metering.Scope {
	all := make([]*metering.Scope, len(states))
	for i := range states {
		all[i] = states[i].Scope
	}
	return all
}

// shared returns the names that scopes of several ids have.
func shared(scopes []*metering.Scope) map[string]bool {
	ids, names := map[string]string{}, map[string]bool{}
	for _, s := range scopes {
		name := scopeName(s)
		if id, known := ids[name]; known && id != s.ID {
			names[name] = true
		}
		ids[name] = s.ID
	}
	return names
}
