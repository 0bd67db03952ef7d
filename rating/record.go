package rating

import "time"

// Record says who made, changed and deleted a rule or a script, and when. It is read from the versions of the rules.
type Record struct {
	Since     int64 // the version of the rules that it came with
	Created   time.Time
	CreatedBy string
	Updated   time.Time // zero: it was never changed
	UpdatedBy string
	Deleted   time.Time // zero: it is there
	DeletedBy string
}

// RecordedRule is a rule, maybe one that was deleted, with its record. ServiceID, FieldID and GroupID are the ids of what
// the rule refers to by name.
type RecordedRule struct {
	Rule
	ServiceID, FieldID, GroupID string // empty: none
	Record
}

// RecordedScript is a script, maybe one that was deleted, with its record.
type RecordedScript struct {
	Script
	Record
}
