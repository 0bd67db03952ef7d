package format

import (
	"testing"

	"ratebook/money"
)

func TestDifference(t *testing.T) {
	for in, want := range map[string]string{"0": "0", "0.4": "+0.40", "-1204": "−1,204.00", "0.000000000001": "+0.000000000001", "12.345": "+12.34"} {
		if got := Difference(money.MustParse(in)); got != want {
			t.Errorf("%s is written %s, want %s", in, got, want)
		}
	}
}
