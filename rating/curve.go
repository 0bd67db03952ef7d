package rating

import (
	"sort"

	"ratebook/money"
)

// curve is a price as an exact function of the quantity, linear piece by piece. It has at least one piece.
type curve []piece

// piece prices the quantities at and above from, and below the next piece's from, at mul × quantity + add. The first
// piece has no lower end, its from means nothing.
type piece struct {
	from     money.Decimal
	mul, add money.Decimal
	priced   bool // whether any rule had a part in it
}

// at returns the piece that prices a quantity.
func (c curve) at(qty money.Decimal) *piece {
	if len(c) == 1 { // nearly always
		return &c[0]
	}
	return &c[sort.Search(len(c)-1, func(i int) bool { return qty.Cmp(c[i+1].from) < 0 })]
}

// plus returns the sum of two curves.
func (c curve) plus(o curve) curve {
	sum := make(curve, 0, len(c)+len(o)-1)
	var from money.Decimal
	for {
		sum = append(sum, piece{
			from: from, mul: c[0].mul.Add(o[0].mul), add: c[0].add.Add(o[0].add), priced: c[0].priced || o[0].priced,
		})
		order := 0 // of their next steps
		switch {
		case len(c) == 1 && len(o) == 1:
			return sum
		case len(o) == 1:
			order = -1
		case len(c) == 1:
			order = 1
		default:
			order = c[1].from.Cmp(o[1].from)
		}
		if order <= 0 {
			c = c[1:]
			from = c[0].from
		}
		if order >= 0 {
			o = o[1:]
			from = o[0].from
		}
	}
}

// reduce drops the trailing zeros of all factors and summands. Costs come with up to 28 decimals, mostly zeros, and with
// them a product would soon be too long for the fast path of package money.
func (c curve) reduce() {
	for i := range c {
		c[i].mul = money.MustParse(c[i].mul.String())
		c[i].add = money.MustParse(c[i].add.String())
	}
}
