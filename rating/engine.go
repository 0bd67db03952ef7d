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
	zone    *time.Location
	stage          // all modules but scripts: what prices where no script runs
	before  *stage // those that run before the scripts; nil if the module of scripts is disabled
	after   *stage
	scripts []Script // those that compile, by name
}

// stage is modules that run one after the other.
type stage struct {
	chain []module
	plans cache
}

// module is one step of pricing: it adds to the plan's price so far what its rules come to for points of the series, and
// narrows the plan's span to the time for which it would add the same.
type module interface {
	price(p *Plan, s *metering.Series, begin time.Time)
	looked(s *metering.Series, begin time.Time) []Look // at the attributes of the series, see [Engine.Looked]
}

// modules are the rating modules there are, by name.
var modules = map[string]func(rules []Rule, zone *time.Location) (module, error){
	"hashmap":     newHashmap,
	"noop":        func([]Rule, *time.Location) (module, error) { return noop{}, nil },
	scriptsModule: func([]Rule, *time.Location) (module, error) { return noop{}, nil }, // see Engine.Price
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
	e := &Engine{version: rules.Version, zone: zone}
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
		switch {
		case m.Name == scriptsModule:
			e.before, e.after = &stage{chain: slices.Clone(e.chain)}, new(stage)
			e.scripts = runnable(rules.Scripts)
			continue
		case e.after != nil:
			e.after.chain = append(e.after.chain, step)
		}
		e.chain = append(e.chain, step)
	}
	return e, nil
}

// Version returns the version of the rules.
func (e *Engine) Version() int64 { return e.version }

// Plan returns how points of the series are priced in a window that begins at begin. The fingerprint must be the series'
// own. What was planned for a series before is reused as long as it holds.
//
// Scripts have no part in plans: where [Engine.Scripts] has some, points are priced by [Engine.Price].
func (st *stage) Plan(s *metering.Series, fp metering.Fingerprint, begin time.Time) *Plan {
	if p := st.plans.get(fp); p != nil && p.Holds(begin) && p.isOf(s) {
		return p
	}
	p := st.plan(s, begin)
	st.plans.put(fp, p)
	return p
}

func (st *stage) plan(s *metering.Series, begin time.Time) *Plan {
	p := &Plan{curve: curve{{}}, metric: s.Metric.Name, scope: s.Scope.ID, scopeKey: s.Scope.Source.ScopeKey}
	for _, m := range st.chain {
		m.price(p, s, begin)
	}
	p.curve.reduce()
	return p
}
