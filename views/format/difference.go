package format

import "ratebook/money"

// Difference returns by how much an amount changes, rounded as by Amount and always with its sign, such as "+0.40" or
// "−1,204.00"; no difference is "0".
func Difference(d money.Decimal) string {
	if d.Sign() > 0 {
		return "+" + Amount(d)
	}
	return Amount(d)
}
