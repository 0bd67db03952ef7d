package metering

import "time"

// Found is a scope that a fetcher found at a source.
type Found struct {
	ID   string // as the source knows it; never empty
	Name string // for people; empty if the source doesn't say
}

// NewScope is a scope that somebody names before a fetcher finds it.
type NewScope struct {
	ID            string
	Key           string    // the label that names it; empty: that of the settings
	Source        string    // name or kind of the source; empty: the one there is
	Fetcher       string    // what would have found it
	Active        bool      // whether its windows are planned
	LastProcessed time.Time // begin of the last window that is not charged any more
}
