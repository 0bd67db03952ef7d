package metering

import (
	"time"

	"ratebook/period"
)

// Reprocessing is what a task of kind Reprocess does for one scope.
type Reprocessing struct {
	Task    int64
	Scope   string // id
	Reason  string
	Range   period.Range
	Current time.Time // begin of the last window that is done, all before it being done too; the range's end once all are; zero: none is
}
