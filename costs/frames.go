package costs

import (
	"time"

	"ratebook/money"
	"ratebook/period"
)

// FrameQuery asks for rated data points, one by one.
type FrameQuery struct {
	Range   period.Range // selects points by their begin
	Filters []Filter     // all must hold; keys as in a Query
	Offset  int          // how many frames to leave out
	Limit   int          // the most frames; 0: all
}

// Frame is the data points that one scope has of one interval: of a window, or pushed for it. Frames are ordered by begin,
// then the scope's id, then end; points by metric, then as they are stored.
type Frame struct {
	Scope      string // id
	Begin, End time.Time
	Points     []Point
}

// Point is a rated data point. Groupby and Metadata are JSON objects whose values are texts, but for pushed points, whose
// values come back as they came. A collected point's Groupby has the scope key and the computed attributes.
type Point struct {
	Metric, Unit      string
	Qty, Price        money.Decimal
	Groupby, Metadata []byte // JSON
}
