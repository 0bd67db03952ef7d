package rating

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"

	"ratebook/metering"
)

func TestPlansAreReused(t *testing.T) {
	e := compile(t,
		mapping(Flat, "1"), mapping(Flat, "2", valid("2026-11-10", "2026-11-20"), on("ram", "8")),
		mapping(Flat, "3", valid("2026-11-15", ""), scope("p2")), // none of p1's business
	)
	s := series("ram=8")
	own := compile(t, mapping(Flat, "2", valid("2026-11-01", "2026-11-30")), mapping(Flat, "3", valid("2026-11-10", "2026-11-20"), scope("p1")))
	if p := planned(own, s, day("2026-11-15")); p.Holds(day("2026-11-09")) || p.Holds(day("2026-11-20")) || !p.Holds(day("2026-11-19")) {
		t.Error("a plan holds beyond a change of the scope's own rules")
	}
	at := func(d string) *Plan { return planned(e, s, day(d)) }
	if at("2026-11-10") != at("2026-11-19") || !at("2026-11-12").Holds(day("2026-11-10")) {
		t.Error("planned again though no rule changes")
	}
	if p := at("2026-11-12"); p.Holds(day("2026-11-09")) || p.Holds(day("2026-11-20")) {
		t.Error("a plan holds beyond a change of the rules")
	}
}

func TestPlansOfComputedAttributesHoldForADay(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	e, err := Compile(&Rules{Modules: []Module{{"hashmap", true, 1}}, Hashmap: []Rule{
		mapping(Flat, "298", on("day_of_the_year", "298")), mapping(Flat, "299", on("day_of_the_year", "299")),
	}}, zone)
	if err != nil {
		t.Fatal(err)
	}
	s := series()
	from := time.Date(2026, 10, 24, 20, 0, 0, 0, time.UTC) // the 25th is the day 298, and 25 hours long
	for i := range 40 {
		begin := from.Add(time.Duration(i) * time.Hour)
		want := map[int]string{298: "298", 299: "299"}[begin.In(zone).YearDay()]
		if want == "" {
			want = "0"
		}
		if price, _ := planned(e, s, begin).Price(num("1")); price.String() != want {
			t.Errorf("%s: got %s, want %s", begin.In(zone), price, want)
		}
	}
	morning := time.Date(2026, 7, 1, 6, 0, 0, 0, zone)
	if p := planned(e, s, morning); p != planned(e, s, morning.Add(17*time.Hour)) || p.Holds(morning.Add(18*time.Hour)) || p.Holds(morning.Add(-7*time.Hour)) {
		t.Error("the plan does not hold for just that day")
	}
	carried := series("day_of_the_year=298")
	if p := planned(e, carried, morning); !p.Holds(morning.AddDate(1, 0, 0)) {
		t.Error("an attribute that the series carries does not change with the day")
	}
}

// TestSameDayAcrossMidnight: in St. John's clocks went back at 00:01, so that one day came twice.
func TestSameDayAcrossMidnight(t *testing.T) {
	zone, err := time.LoadLocation("America/St_Johns")
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Date(2006, 10, 28, 12, 0, 0, 0, time.UTC)
	for minute := 0; minute < 2*24*60; minute += 10 {
		at := begin.Add(time.Duration(minute) * time.Minute)
		s := sameDay(at, zone)
		if !s.contains(at) {
			t.Fatalf("%s is not in its own span", at)
		}
		for other := s.from; other.Before(s.until); other = other.Add(time.Minute) {
			if other.In(zone).YearDay() != at.In(zone).YearDay() {
				t.Fatalf("%s and %s share a span", at.In(zone), other.In(zone))
			}
		}
	}
}

// TestSeriesWithoutNumbers: those of a quote have no references, so different ones may share a fingerprint.
func TestSeriesWithoutNumbers(t *testing.T) {
	e := compile(t, mapping(Flat, "1"), mapping(Flat, "2", scope("p2")))
	one, two := series(), series()
	two.Scope = &metering.Scope{Ref: one.Scope.Ref, ID: "p2", Source: one.Scope.Source}
	three := series()
	three.Metric = &metering.Metric{Ref: one.Metric.Ref, Name: "ram"}
	for range 2 {
		for i, s := range []*metering.Series{one, two, three} {
			if price, _ := planned(e, s, now).Price(num("1")); price.String() != []string{"1", "2", "0"}[i] {
				t.Errorf("series %d: %s", i, price)
			}
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	var c cache
	plan := &Plan{}
	var fp, kept metering.Fingerprint
	kept[1] = 0xff
	for i := range 5 * cacheGeneration {
		binary.BigEndian.PutUint64(fp[8:], uint64(i))
		fp[0] = byte(i)
		c.put(fp, plan)
		if i == 0 {
			c.put(kept, plan)
		}
		if i%1000 == 0 && c.get(kept) == nil {
			t.Fatalf("a plan that is used again and again is gone after %d", i)
		}
	}
	n := 0
	for i := range c {
		n += len(c[i].young) + len(c[i].old)
	}
	if n > 2*cacheGeneration {
		t.Errorf("%d plans", n)
	}
}

func TestConcurrentUse(t *testing.T) {
	e := compile(t, mapping(Flat, "1"), mapping(Flat, "2", valid("2026-11-10", "")), mapping(Flat, "3", on("month", "12"), inGroup("g")))
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 500 {
				s := series(fmt.Sprintf("id=%d", i%10))
				begin, want := day("2026-11-09"), "1"
				switch (i + worker) % 3 {
				case 1:
					begin, want = day("2026-11-10"), "2"
				case 2:
					begin, want = day("2026-12-10"), "5"
				}
				if price, _ := planned(e, s, begin).Price(num("1")); price.String() != want {
					t.Errorf("%s: got %s, want %s", begin, price, want)
				}
			}
		})
	}
	wg.Wait()
}
