package metering

import (
	"strconv"
	"strings"
	"time"

	"ratebook/fault"
	"ratebook/period"
)

// Keep is for how long something is kept: so many whole billing months before the current one.
type Keep int

// Forever keeps everything.
const Forever Keep = 0

const mostKept = 1200 // months

// ParseKeep reads what String writes: forever, or a number of months.
func ParseKeep(text string) (Keep, error) {
	if text == "forever" {
		return Forever, nil
	}
	words := strings.Fields(text)
	if len(words) == 2 && (words[1] == "months" || words[1] == "month") {
		if n, err := strconv.Atoi(words[0]); err == nil && n >= 1 && n <= mostKept {
			return Keep(n), nil
		}
	}
	return 0, fault.New(fault.Invalid, `%q is no time to keep something for; write forever, or whole months like "13 months", at least 1 month`, text)
}

// String returns a text such as forever, 1 month or 13 months.
func (k Keep) String() string {
	switch k {
	case Forever:
		return "forever"
	case 1:
		return "1 month"
	}
	return strconv.Itoa(int(k)) + " months"
}

// Cut returns the begin of the first billing month that is still kept; zero if all are.
func (k Keep) Cut(now time.Time, zone *time.Location) time.Time {
	if k == Forever {
		return time.Time{}
	}
	y, m, _ := period.Date(now, zone).Date()
	return period.StartOf(time.Date(y, m-time.Month(k), 1, 0, 0, 0, 0, time.UTC), zone)
}

// Retention is for how long charges, with the ledger, and roll-ups are kept, and since when there are any. These times are
// begins of billing months and never move back; zero means that nothing was dropped.
type Retention struct {
	Charges, Rollups         Keep
	ChargesFrom, RollupsFrom time.Time
}

// From returns since when charges are kept that are made now; zero: since ever.
func (r *Retention) From(now time.Time, zone *time.Location) time.Time {
	if cut := r.Charges.Cut(now, zone); cut.After(r.ChargesFrom) {
		return cut
	}
	return r.ChargesFrom
}

// Check says whether the two go together: roll-ups are kept at least as long as the charges they sum.
func (r *Retention) Check() error {
	switch {
	case r.Rollups == Forever:
		return nil
	case r.Charges == Forever:
		return fault.New(fault.Invalid, "roll-ups can't be dropped after %s while charges are kept forever; set keep_charges to that or less first, or keep_rollups to forever", r.Rollups)
	case r.Rollups < r.Charges:
		return fault.New(fault.Invalid, "roll-ups can't be dropped after %s while charges are kept for %s; they sum charges, so keep them at least as long", r.Rollups, r.Charges)
	}
	return nil
}

// Retained is what keeping no longer than asked came to.
type Retained struct {
	ChargesFrom, RollupsFrom time.Time // since when there are any now; zero: since the first

	HeldAt time.Time // unless zero: the begin of what keeps this month and later ones from being dropped,
	HeldBy string    // and what that is

	// Rows that were dropped. Charges are without those of whole partitions.
	Windows, Charges, Superseded, Findings, Tasks, Rollups, Series int64
	Partitions                                                     int // of charges
	Busy                                                           int // partitions and scopes that others used; they are tried again the next time
}

// Nothing reports whether nothing was dropped.
func (r Retained) Nothing() bool {
	return r.Windows+r.Charges+r.Superseded+r.Findings+r.Tasks+r.Rollups+r.Series+int64(r.Partitions) == 0
}
