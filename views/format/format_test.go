package format

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ratebook/money"
)

func TestNumbers(t *testing.T) {
	tests := []struct{ in, amount, exact, quantity string }{
		{"0", "0", "0", "0"},
		{"0.000", "0", "0", "0"},
		{"1", "1.00", "1", "1"},
		{"-1", "−1.00", "−1", "−1"},
		{"12480.2249", "12,480.22", "12,480.2249", "12,480.22"},
		{"12480.225", "12,480.22", "12,480.225", "12,480.22"},
		{"12480.235", "12,480.24", "12,480.235", "12,480.24"},
		{"999999.999", "1,000,000.00", "999,999.999", "1,000,000"},
		{"999.5", "999.50", "999.5", "999.5"},
		{"0.5", "0.50", "0.5", "0.5"},
		{"0.035", "0.035", "0.035", "0.035"},
		{"0.040754", "0.04075", "0.040754", "0.0408"},
		{"0.99996", "1.00", "0.99996", "1"},
		{"0.99994", "0.9999", "0.99994", "0.9999"},
		{"-0.000123456789", "−0.0001235", "−0.000123456789", "−0.0001"},
		{"0.000000000001", "0.000000000001", "0.000000000001", "≈0"},
		{"-0.00001", "−0.00001", "−0.00001", "≈0"},
		{
			"123456789012345678901234567890.123456789012", "123,456,789,012,345,678,901,234,567,890.12",
			"123,456,789,012,345,678,901,234,567,890.123456789012", "123,456,789,012,345,678,901,234,567,890.12",
		},
	}
	for _, tt := range tests {
		d := money.MustParse(tt.in)
		if got := Amount(d); got != tt.amount {
			t.Errorf("Amount(%s) = %q, want %q", tt.in, got, tt.amount)
		}
		if got := Exact(d); got != tt.exact {
			t.Errorf("Exact(%s) = %q, want %q", tt.in, got, tt.exact)
		}
		if got := Quantity(d); got != tt.quantity {
			t.Errorf("Quantity(%s) = %q, want %q", tt.in, got, tt.quantity)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "−1,234,567", -1 << 63: "−9,223,372,036,854,775,808"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestPercent(t *testing.T) {
	tests := []struct{ part, whole, want string }{
		{"5201.10", "12480.22", "41.7 %"},
		{"1", "4", "25.0 %"},
		{"1", "0", "–"},
		{"0", "0", "–"},
		{"0", "5", "0.0 %"},
		{"0.00001", "5", "<0.1 %"},
		{"-1", "3", "−33.3 %"},
		{"-1", "-3", "33.3 %"},
		{"3", "-2", "−150.0 %"},
		{"1", "0.0001", "1,000,000.0 %"},
	}
	for _, tt := range tests {
		if got := Percent(money.MustParse(tt.part), money.MustParse(tt.whole)); got != tt.want {
			t.Errorf("Percent(%s, %s) = %q, want %q", tt.part, tt.whole, got, tt.want)
		}
	}
}

func TestChange(t *testing.T) {
	tests := []struct{ before, now, want string }{
		{"100", "108.1", "+8.1 %"},
		{"100", "97", "−3.0 %"},
		{"100", "100", "±0.0 %"},
		{"100", "100.01", "±0.0 %"},
		{"0", "5", "–"},
		{"5", "0", "−100.0 %"},
		{"-10", "-5", "+50.0 %"},
		{"1", "100", "+9,900.0 %"},
	}
	for _, tt := range tests {
		if got := Change(money.MustParse(tt.before), money.MustParse(tt.now)); got != tt.want {
			t.Errorf("Change(%s, %s) = %q, want %q", tt.before, tt.now, got, tt.want)
		}
	}
}

// What is written of a number is the number again, to the digits shown.
func TestNumbersReadBack(t *testing.T) {
	read := func(t *rapid.T, s string) money.Decimal {
		t.Helper()
		d, err := money.Parse(strings.ReplaceAll(strings.ReplaceAll(s, ",", ""), minus, "-"))
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		return d
	}
	abs := func(d money.Decimal) money.Decimal {
		if d.Sign() < 0 {
			return d.Neg()
		}
		return d
	}
	rapid.Check(t, func(t *rapid.T) {
		d := money.New(rapid.Int64().Draw(t, "coefficient"), rapid.Int32Range(0, 18).Draw(t, "decimals"))
		if got := read(t, Exact(d)); !got.Equal(d) {
			t.Fatalf("Exact(%s) reads %s", d, got)
		}
		got := read(t, Amount(d))
		if got.Sign() != d.Sign() {
			t.Fatalf("Amount(%s) = %s changes the sign", d, Amount(d))
		}
		// at most half of the last digit shown: 0.005 from 1 up, 1/2000 of the number below
		off, allowed := abs(got.Sub(d)), money.MustParse("0.005")
		if abs(d).Cmp(money.New(1, 0)) < 0 {
			allowed = abs(d).Mul(money.MustParse("0.0005"))
		}
		if off.Cmp(allowed) > 0 {
			t.Fatalf("Amount(%s) = %s is off by %s", d, Amount(d), off)
		}
		for _, s := range []string{Amount(d), Exact(d), Quantity(d)} {
			whole, _, _ := strings.Cut(strings.TrimPrefix(s, minus), ".")
			for i, part := range strings.Split(whole, ",") {
				if len(part) > 3 && s != "≈0" || i > 0 && len(part) != 3 {
					t.Fatalf("%s is written %q", d, s)
				}
			}
		}
	})
}

func TestRange(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	beirut, err := time.LoadLocation("Asia/Beirut") // clocks jump over midnight
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		begin, end string
		zone       *time.Location
		want       string
	}{
		{"2026-11-01T00:00", "2026-11-22T00:00", time.UTC, "1–21 Nov 2026"},
		{"2026-11-01T00:00", "2026-12-01T00:00", berlin, "November 2026"},
		{"2026-02-01T00:00", "2026-03-01T00:00", berlin, "February 2026"},
		{"2026-12-01T00:00", "2027-01-01T00:00", berlin, "December 2026"},
		{"2026-01-01T00:00", "2027-01-01T00:00", berlin, "2026"},
		{"2026-01-01T00:00", "2028-01-01T00:00", berlin, "1 Jan 2026 – 31 Dec 2027"},
		{"2026-10-28T00:00", "2026-11-04T00:00", berlin, "28 Oct – 3 Nov 2026"},
		{"2026-12-28T00:00", "2027-01-04T00:00", berlin, "28 Dec 2026 – 3 Jan 2027"},
		{"2026-11-21T00:00", "2026-11-22T00:00", berlin, "21 Nov 2026"},
		{"2026-10-25T00:00", "2026-10-26T00:00", berlin, "25 Oct 2026"}, // 25 hours
		{"2026-10-01T00:00", "2026-12-01T00:00", berlin, "1 Oct – 30 Nov 2026"},
		{"2026-11-21T14:00", "2026-11-21T15:00", berlin, "21 Nov 2026, 14:00–15:00"},
		{"2026-11-21T14:00", "2026-11-22T00:00", berlin, "21 Nov 2026, 14:00–24:00"},
		{"2026-11-21T00:00", "2026-11-22T06:30", berlin, "21 Nov, 00:00 – 22 Nov 2026, 06:30"},
		{"2026-12-31T23:00", "2027-01-01T01:00", berlin, "31 Dec 2026, 23:00 – 1 Jan 2027, 01:00"},
		{"2026-11-21T14:00", "2026-11-21T14:00", berlin, "21 Nov 2026, 14:00"},
		{"2026-03-29T01:00", "2026-03-30T00:00", beirut, "29 Mar 2026"},
	}
	for _, tt := range tests {
		begin, errB := time.ParseInLocation("2006-01-02T15:04", tt.begin, tt.zone)
		end, errE := time.ParseInLocation("2006-01-02T15:04", tt.end, tt.zone)
		if errB != nil || errE != nil {
			t.Fatal(errB, errE)
		}
		if got := Range(begin.UTC(), end.UTC(), tt.zone); got != tt.want {
			t.Errorf("Range(%s, %s) = %q, want %q", tt.begin, tt.end, got, tt.want)
		}
	}
	// an hour that the clock shows twice
	begin := time.Date(2026, 10, 25, 0, 0, 0, 0, time.UTC)
	if got, want := Range(begin, begin.Add(time.Hour), berlin), "25 Oct 2026, 02:00 (+02:00) – 02:00 (+01:00)"; got != want {
		t.Errorf("the hour of the change is %q, want %q", got, want)
	}
}

func TestTimes(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 21, 23, 2, 11, 0, time.UTC)
	for got, want := range map[string]string{
		Time(at, berlin): "22 Nov 2026, 00:02",
		Day(at, berlin):  "22 Nov 2026",
		UTC(at):          "2026-11-21T23:02:11Z",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                               "under a minute",
		59 * time.Second:                "under a minute",
		90 * time.Second:                "1 min",
		6 * time.Hour:                   "6 h",
		6*time.Hour + 5*time.Minute:     "6 h 5 min",
		52*time.Hour + 59*time.Minute:   "2 d 4 h",
		48 * time.Hour:                  "2 d",
		-90 * time.Minute:               "1 h 30 min",
		2400*24*time.Hour + time.Hour:   "2,400 d 1 h",
		24*time.Hour + 59*time.Minute:   "1 d",
		time.Hour + 30*time.Second:      "1 h",
		59*time.Minute + 59*time.Second: "59 min",
	} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%s) = %q, want %q", d, got, want)
		}
	}
}
