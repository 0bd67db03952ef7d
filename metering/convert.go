package metering

import "ratebook/money"

// Quantity converts what the source measured to the quantity that is stored and rated: raw × factor + offset, computed
// exactly and rounded once, half to even, to [money.QtyPlaces] decimals; then mutated. Mutations see the rounded value:
// the ceiling of 1 + 10^-30 is 1.
func (m *Metric) Quantity(raw money.Decimal) money.Decimal {
	return m.mutate(money.Linear(raw, m.Factor, m.Offset, money.QtyPlaces))
}

func (m *Metric) mutate(qty money.Decimal) money.Decimal {
	one := money.New(1, 0)
	switch m.Mutate {
	case None:
		return qty
	case NumBool:
		if qty.IsZero() {
			return money.Decimal{}
		}
		return one
	case NotNumBool:
		if qty.IsZero() {
			return one
		}
		return money.Decimal{}
	case Floor:
		return qty.Floor()
	case Ceil:
		return qty.Ceil()
	case Map:
		for _, e := range m.MutateMap {
			if e.From.Equal(qty) {
				return e.To
			}
		}
		return money.Decimal{}
	}
	panic("metering: unknown mutation")
}
