package access

import "time"

// Change is one thing that somebody changed.
type Change struct {
	ID            int64 // grows with time
	At            time.Time
	Actor         string // a login, or cli:USER
	Action        string // what was done: add, change, import, ...
	Subject       string // to what: "user ada", "rules, version 12"
	Before, After string // as text; empty where it says nothing
}

// ChangeFilter says which changes are wanted, the newest first.
type ChangeFilter struct {
	Subject string // that subjects begin with; empty: all
	Before  int64  // only those with a smaller ID; 0: all
	Limit   int
}
