package rating

import (
	"slices"
	"time"

	"ratebook/metering"
	"ratebook/money"
)

// Plan prices the points of one series as long as the same rules apply to it. It never changes.
type Plan struct {
	curve      curve
	span       span
	notNumeric []metering.Attribute

	// A fingerprint tells apart only scopes and metrics that have their numbers from the database; a quote's have none.
	metric, scope, scopeKey string
}

// Outcome says how a price came about.
type Outcome uint8

const (
	Priced       Outcome = iota // by the rules, even if the price is 0
	Unpriced                    // no rule applied, so the price is 0
	RoundedToNil                // the rules' price is not 0, but rounds to 0
)

// Price returns the price of a point of this quantity, computed exactly and rounded once, half to even, to
// [money.PricePlaces] decimals.
func (p *Plan) Price(qty money.Decimal) (money.Decimal, Outcome) {
	at := p.curve.at(qty)
	if !at.priced {
		return money.Decimal{}, Unpriced
	}
	exact := qty.Mul(at.mul)
	if !at.add.IsZero() {
		exact = exact.Add(at.add)
	}
	price := exact.Round(money.PricePlaces)
	if price.IsZero() {
		if !exact.IsZero() {
			return money.Decimal{}, RoundedToNil
		}
		return money.Decimal{}, Priced
	}
	return price, Priced
}

// exact returns the price before it is rounded. [Plan.Price] has it and rounded in its body, for speed.
func (at *piece) exact(qty money.Decimal) money.Decimal {
	exact := qty.Mul(at.mul)
	if !at.add.IsZero() {
		exact = exact.Add(at.add)
	}
	return exact
}

// rounded rounds a price that rules have made.
func rounded(exact money.Decimal) (money.Decimal, Outcome) {
	price := exact.Round(money.PricePlaces)
	if price.IsZero() {
		if !exact.IsZero() {
			return money.Decimal{}, RoundedToNil
		}
		return money.Decimal{}, Priced
	}
	return price, Priced
}

// Priced reports whether rules price the series' points, of some quantities at least.
func (p *Plan) Priced() bool {
	return slices.ContainsFunc(p.curve, func(at piece) bool { return at.priced })
}

// NotNumeric returns the attributes that a threshold should have been compared with, but whose values are no numbers. The
// thresholds on them were passed over: each is a finding of kind [metering.NotNumeric].
func (p *Plan) NotNumeric() []metering.Attribute { return slices.Clone(p.notNumeric) }

// Holds reports whether the plan is also that of a window that begins at begin.
func (p *Plan) Holds(begin time.Time) bool { return p.span.contains(begin) }

func (p *Plan) isOf(s *metering.Series) bool {
	return p.metric == s.Metric.Name && p.scope == s.Scope.ID && p.scopeKey == s.Scope.Source.ScopeKey
}

// span is the half-open interval [from, until), without an end where until is zero.
type span struct{ from, until time.Time }

func (s *span) contains(t time.Time) bool {
	return !t.Before(s.from) && (s.until.IsZero() || t.Before(s.until))
}

// narrow cuts s down to what it has in common with o.
func (s *span) narrow(o span) {
	if o.from.After(s.from) {
		s.from = o.from
	}
	if s.until.IsZero() || !o.until.IsZero() && o.until.Before(s.until) {
		s.until = o.until
	}
}

// sameDay returns the span around t in which computed attributes don't change: t's day in the zone, cut where clocks are
// changed, since a change across midnight brings the day before back.
func sameDay(t time.Time, zone *time.Location) span {
	local := t.In(zone)
	_, offset := local.Zone()
	const day = 24 * 60 * 60
	second := (local.Unix() + int64(offset)) % day
	if second < 0 {
		second += day
	}
	midnight := local.Add(-time.Duration(second)*time.Second - time.Duration(local.Nanosecond()))
	s := span{midnight, midnight.Add(day * time.Second)}
	from, until := local.ZoneBounds()
	s.narrow(span{from, until})
	return s
}
