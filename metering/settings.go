package metering

import "time"

// Settings shape what is stored, and so belong to a database, not to a process: they are set at its first use.
type Settings struct {
	Period    time.Duration  // the collect period
	ScopeKey  string         // the label that names a scope
	Zone      *time.Location // the billing zone: where days and months begin
	Currency  string         // ISO 4217
	Retention Retention      // as it was when they were read: unlike the others it changes while processes run
}
