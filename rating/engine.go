package rating

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"ratebook/fault"
	"ratebook/metering"
)

// Engine prices usage with the rules of one version. It never changes, but for a cache of plans, and may be used by many
// goroutines at once.
type Engine struct {
	version int64
	chain   []module
	plans   cache
}

// module is one step of pricing: it adds to the plan's price so far what its rules come to for points of the series, and
// narrows the plan's span to the time for which it would add the same.
type module interface {
	price(p *Plan, s *metering.Series, begin time.Time)
	looked(s *metering.Series, begin time.Time) []Look // at the attributes of the series, see [Engine.Looked]
}

// modules are the rating modules there are, by name.
var modules = map[string]func(rules []Rule, zone *time.Location) (module, error){
	"hashmap": newHashmap,
	"noop":    func([]Rule, *time.Location) (module, error) { return noop{}, nil },
}

// noop is CloudKitty's example module: it leaves prices alone.
type noop struct{}

func (noop) price(*Plan, *metering.Series, time.Time) {}

// moduleNames returns the names of all modules, in order.
func moduleNames() []string { return slices.Sorted(maps.Keys(modules)) }

// Compile returns the engine of the rules; zone is the billing zone, in which computed attributes are computed. It keeps
// no reference to the rules. Modules that the rules don't list are disabled. The error is of kind Invalid: a module that
// is unknown or listed twice, or a rule of which nobody could say what it means.
func Compile(rules *Rules, zone *time.Location) (*Engine, error) {
	e := &Engine{version: rules.Version}
	chain := slices.Clone(rules.Modules)
	slices.SortFunc(chain, func(a, b Module) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.Name, b.Name))
	})
	seen := map[string]bool{}
	for _, m := range chain {
		compile, ok := modules[m.Name]
		if !ok {
			return nil, fault.New(fault.Invalid, "there is no rating module %q; there are %s", m.Name, strings.Join(moduleNames(), ", "))
		}
		if seen[m.Name] {
			return nil, fault.New(fault.Invalid, "rating module %q is listed twice", m.Name)
		}
		seen[m.Name] = true
		if !m.Enabled {
			continue
		}
		step, err := compile(rules.Hashmap, zone)
		if err != nil {
			return nil, err
		}
		e.chain = append(e.chain, step)
	}
	return e, nil
}

// Version returns the version of the rules.
func (e *Engine) Version() int64 { return e.version }

// Plan returns how points of the series are priced in a window that begins at begin. The fingerprint must be the series'
// own. What was planned for a series before is reused as long as it holds.
func (e *Engine) Plan(s *metering.Series, fp metering.Fingerprint, begin time.Time) *Plan {
	if p := e.plans.get(fp); p != nil && p.Holds(begin) && p.isOf(s) {
		return p
	}
	p := e.plan(s, begin)
	e.plans.put(fp, p)
	return p
}

func (e *Engine) plan(s *metering.Series, begin time.Time) *Plan {
	p := &Plan{curve: curve{{}}, metric: s.Metric.Name, scope: s.Scope.ID, scopeKey: s.Scope.Source.ScopeKey}
	for _, m := range e.chain {
		m.price(p, s, begin)
	}
	p.curve.reduce()
	return p
}
