// Package v1 is version 1 of CloudKitty's HTTP API, for its command line, dashboard and scripts: rating modules, quotes,
// hashmap rules, scripts, reports and data frames, over the same rules and charges as Ratebook's own pages.
//
// What a client can see is as CloudKitty has it: paths with or without a slash at the end and /billing for /rating, arguments
// from path, query or a JSON body, the statuses (302 to a PUT, 201, 204), the texts of errors, decimals as strings (28
// places for costs, 8 for levels), times in UTC without a zone. Where CloudKitty fails, loses or leaks something, this does not:
//
//   - What is wrong with a request is a 400, also where CloudKitty has a 500: a quote without a volume, an end without a
//     start, thresholds asked for without a parent, bytes that are no text. An argument given twice in different ways is
//     refused.
//   - Parents of rules are compared as UUIDs, so that clients that send the whole rule can end it. A PUT that changes nothing
//     is 302 always, since clients follow the redirection with the same PUT.
//   - A rule or script that has begun but priced no committed window may be changed like one that has not begun, also its
//     type, value, group, tenant and name, if the request has them. One that has priced may only be ended, also if it has not
//     begun, but points were pushed for then. What is charged while it is changed keeps its price, and the version of the rules
//     that made it.
//   - Validity is half-open: a rule may begin when another one for the same usage ends. Rules overlap whenever they do.
//   - Times are whole seconds. The start of a rule that was made without one in Ratebook is shown as 1970-01-01T00:00:00, and
//     its name, if it has none, as the digits of its id.
//   - What was deleted is kept with who did it and when, also what was deleted with its service or field.
//   - Reports and data frames are of [begin, end) by begin. A summary has the exact amounts, and no row for a range without
//     charges (so has CloudKitty with its storage 2). Quotes are what would be charged, rounded to 12 decimals.
//   - A token of several scopes has the first as its own project: reports and data frames that name no tenant_id are of that
//     one. tenant_id may name any of its scopes.
//   - A quote can be asked for 10,000 resources.
//   - What clients may not do is refused before their arguments are looked at.
package v1

import (
	"context"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/costs"
	"ratebook/metering"
	"ratebook/rating"
	"ratebook/web"
)

// Rules keeps the rules.
type Rules interface {
	// Rules returns what prices as of a version; 0 is the latest.
	Rules(ctx context.Context, version int64) (*rating.Rules, error)
	// EditRules makes what edit makes of the latest rules the valid ones; if that changes nothing, nothing is stored. Edit may be
	// called several times, does no more than compute, and its error is returned as it is.
	EditRules(ctx context.Context, author, what string, edit func(*rating.Rules) (*rating.Rules, error)) (version int64, err error)
	// RuleRecords returns mappings and thresholds, with those that were deleted or without.
	RuleRecords(ctx context.Context, deleted bool) ([]rating.RecordedRule, error)
	// ScriptRecords does the same for scripts.
	ScriptRecords(ctx context.Context, deleted bool) ([]rating.RecordedScript, error)
	// HasPriced reports whether a rule or script may have priced a committed window.
	HasPriced(ctx context.Context, id string) (bool, error)
}

// Charges answers what was charged.
type Charges interface {
	// Report yields the sums that are asked for, ordered by groups, and returns the total of all.
	Report(ctx context.Context, q *costs.Query, yield func(costs.Row) error) (costs.Total, error)
	// Frames yields data points, frame by frame, and returns how many points there are in all.
	Frames(ctx context.Context, q *costs.FrameQuery, yield func(*costs.Frame) error) (points int64, err error)
}

// Catalog knows what is measured, and for whom.
type Catalog interface {
	Configuration(ctx context.Context, version int64) (*metering.Configuration, error)
	Scopes(ctx context.Context) ([]*metering.Scope, error)
}

// Collectors keeps what CloudKitty's clients say of its collectors. Nothing depends on it, there as here.
type Collectors interface {
	// CollectorMappings returns collectors by service.
	CollectorMappings(ctx context.Context) (map[string]string, error)
	SetCollectorMapping(ctx context.Context, service, collector, actor string) error
	// RemoveCollectorMapping forgets a service's collector; the error is NotFound if it has none.
	RemoveCollectorMapping(ctx context.Context, service, actor string) error
	// CollectorState reports whether a collector is enabled; of one that nobody mentioned, false.
	CollectorState(ctx context.Context, name string) (bool, error)
	SetCollectorState(ctx context.Context, name string, enabled bool, actor string) error
}

// Quotes prices what somebody asks the price of.
type Quotes interface {
	// Quote prices the points of a frame by the latest rules. An error is a [rating.ScriptError] if a script fails.
	Quote(ctx context.Context, f *rating.Frame) error
}

// Deps is what the API needs.
type Deps struct {
	Rules      Rules
	Quotes     Quotes
	Charges    Charges
	Catalog    Catalog
	Collectors Collectors
	Settings   *metering.Settings
	Now        func() time.Time
}

// server answers the requests.
type server struct {
	Deps
	routes []route
}

// New returns the API.
func New(deps Deps) web.API {
	s := &server{Deps: deps, routes: compile(endpoints)}
	return web.API{
		Version: "v1", Status: "CURRENT",
		Routes: func(g *echo.Group) { g.Any("/*", s.dispatch) },
		Bare:   notAllowed,
		Fail:   fail,
	}
}

// now returns the time in whole seconds, as rules have it.
func (s *server) now() time.Time { return s.Now().UTC().Truncate(time.Second) }

// notAllowed answers what no route does, as CloudKitty answers it.
func notAllowed(echo.Context) error { return echo.ErrMethodNotAllowed }
