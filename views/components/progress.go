package components

import (
	"ratebook/money"
	"ratebook/views/format"
)

// Windows counts how far something that is made of windows has come.
type Windows struct {
	Done, All int
	Failing   int  // of those that are not done
	Counting  bool // All still grows
}

// done returns the length of the bar in thousandths; it is full only once all windows are done.
func (p Windows) done() int {
	if p.All <= 0 {
		return 0
	}
	return max(0, min(p.Done, p.All)) * 1000 / p.All
}

// failing returns the length of what fails in thousandths, at least so much that it can be seen.
func (p Windows) failing() int {
	if p.All <= 0 {
		return 0
	}
	return min(max(8, p.Failing*1000/p.All), 1000-p.done())
}

func (p Windows) text() string {
	s := format.Count(int64(p.Done)) + " of " + format.Count(int64(p.All))
	if p.Counting {
		s += " counted so far"
	}
	if p.Failing > 0 {
		s += ", " + format.Count(int64(p.Failing)) + " failing"
	}
	return s
}

// exactDifference writes all digits of a difference, with its sign.
func exactDifference(d money.Decimal) string {
	if d.Sign() > 0 {
		return "+" + format.Exact(d)
	}
	return format.Exact(d)
}
