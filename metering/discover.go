package metering

// Found is a scope that a fetcher found at a source.
type Found struct {
	ID   string // as the source knows it; never empty
	Name string // for people; empty if the source doesn't say
}
