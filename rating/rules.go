// Package rating is the domain of prices: the rules an operator writes and the engine that prices usage with them. It is
// pure: the same usage and the same rules give the same price, forever.
package rating

import (
	"time"

	"ratebook/money"
)

// Rules is everything that prices, as of one version.
type Rules struct {
	Version  int64
	Modules  []Module
	Groups   []Group
	Services []Service
	Hashmap  []Rule
	Scripts  []Script
}

// Module is a rating module: modules price a point one after the other, the highest priority first, and each adds to the
// price so far.
type Module struct {
	Name     string // hashmap, noop, pyscripts
	Enabled  bool
	Priority int
}

// Group names rules that are computed together; the prices of different groups add up.
type Group struct {
	ID   string // a UUID
	Name string
}

// Service holds the hashmap rules of one metric.
type Service struct {
	ID     string // a UUID
	Name   string // the metric's name
	Fields []Field
}

// Field names an attribute whose values hashmap rules look at.
type Field struct {
	ID   string // a UUID
	Name string // the attribute's name
}

// Kind tells the two kinds of hashmap rules apart.
type Kind string

const (
	Mapping   Kind = "mapping"   // applies where the attribute equals Value, or, on a service, to every point
	Threshold Kind = "threshold" // applies where the attribute, or on a service the quantity, is at least Level
)

// Type says how a rule's cost enters the price.
type Type string

const (
	Flat Type = "flat" // an amount per unit
	Rate Type = "rate" // a factor
)

// Rule is a hashmap mapping or threshold. Its identity is Kind, Service, Field, Value or Level, Scope, Group and Start.
type Rule struct {
	ID          string // a UUID
	Kind        Kind
	Service     string
	Field       string // empty: a rule of the service itself
	Value       string // of a field mapping, compared exactly
	Level       money.Decimal
	Type        Type
	Cost        money.Decimal
	Group       string    // empty: the default group
	Scope       string    // empty: every scope; else the scope's id, and the rule replaces its global twin
	Start       time.Time // zero: since the beginning of time
	End         time.Time // zero: for ever; the rule applies to windows with Start <= begin < End
	Name        string
	Description string
}
