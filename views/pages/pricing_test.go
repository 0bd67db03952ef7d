package pages

import (
	"strings"
	"testing"
	"time"

	"ratebook/money"
	"ratebook/rating"
	"ratebook/views/components"
)

func priceWords(t *testing.T) *PriceWords {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return &PriceWords{
		Zone: zone, Currency: "EUR", Period: time.Hour, Units: map[string]string{"cpu": "vcpu"}, Scopes: map[string]string{"p1": "Genomics"},
		Now: time.Date(2026, 11, 21, 14, 0, 0, 0, time.UTC),
	}
}

func TestPriceSentences(t *testing.T) {
	t.Parallel()
	w := priceWords(t)
	since := time.Date(2026, 1, 1, 0, 0, 0, 0, w.Zone)
	later := time.Date(2026, 12, 1, 12, 30, 0, 0, w.Zone)
	for _, c := range []struct {
		rule rating.Rule
		want string
	}{
		{
			rating.Rule{Kind: rating.Mapping, Service: "cpu", Field: "flavor", Value: "m1", Type: rating.Flat, Cost: money.MustParse("0.0350"), Start: since},
			"cpu, flavor = m1: 0.035 EUR per vcpu, group default, for every scope, since 1 Jan 2026",
		},
		{
			rating.Rule{Kind: rating.Mapping, Service: "cpu", Field: "flavor", Value: "m1 ", Type: rating.Rate, Cost: money.MustParse("1.15"), Start: later},
			"cpu, flavor = “m1 ”: × 1.15, group default, for every scope, from 1 Dec 2026, 12:30",
		},
		{
			rating.Rule{Kind: rating.Mapping, Service: "net", Type: rating.Flat, Cost: money.New(1, 0), Group: "bulk", Scope: "p1"},
			"net, every point: 1 EUR per unit, group bulk, for Genomics, always",
		},
		{
			rating.Rule{Kind: rating.Threshold, Service: "cpu", Level: money.New(1000, 0), Type: rating.Flat, Cost: money.New(-5, 0), Scope: "p2", End: later},
			"cpu, quantity ≥ 1,000 vcpu: −5 EUR per data point, group default, for p2, until 1 Dec 2026, 12:30",
		},
		{
			rating.Rule{Kind: rating.Threshold, Service: "cpu", Field: "ram", Level: money.New(8, 0), Type: rating.Flat, Cost: money.New(5, 0), Start: since, End: later},
			"cpu, ram ≥ 8: 5 EUR per vcpu, group default, for every scope, from 1 Jan 2026 until 1 Dec 2026, 12:30",
		},
	} {
		if got := w.Sentence(&c.rule); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	for text, row := range map[string]RuleRow{
		"valid":                   {},
		"replaced by a later one": {Replaced: true},
		"ended 1 Jan 2026":        {Rule: rating.Rule{End: since}, Replaced: true},
		"from 1 Dec 2026, 12:30":  {Rule: rating.Rule{Start: later}, Replaced: true},
	} {
		if state, got := w.State(&row); got != text || (state == components.OK) != (text == "valid") {
			t.Errorf("%s: %s", got, state)
		}
	}
	for text, row := range map[string]RuleRow{
		"always":                  {},
		"since 1 Jan 2026":        {Rule: rating.Rule{Start: since}},
		"until 1 Jan 2026: ended": {Rule: rating.Rule{End: since}, Replaced: true},
		"from 1 Dec 2026, 12:30":  {Rule: rating.Rule{Start: later}, Replaced: true},
		"since 1 Jan 2026: replaced by a later one": {Rule: rating.Rule{Start: since}, Replaced: true},
	} {
		state, got := w.Valid(&row)
		if want, _ := w.State(&row); got != text || state != want {
			t.Errorf("%s: %s", got, state)
		}
	}
}

// What is filled in or wrong is not folded away.
func TestPriceFormMore(t *testing.T) {
	t.Parallel()
	usual := rating.Form{Kind: "mapping", Type: "flat", Service: "cpu", Field: "flavor", Value: "m1", Cost: "1", Start: "2026-11-22"}
	for what, c := range map[string]struct {
		change func(*RuleForm)
		open   bool
	}{
		"usual":          {func(*RuleForm) {}, false},
		"wrong cost":     {func(f *RuleForm) { f.Errors["cost"] = "wrong" }, false},
		"wrong level":    {func(f *RuleForm) { f.Errors["level"] = "wrong" }, true},
		"threshold":      {func(f *RuleForm) { f.Form.Kind = "threshold" }, true},
		"factor":         {func(f *RuleForm) { f.Form.Type = "rate" }, true},
		"end":            {func(f *RuleForm) { f.Form.End = "2026-12-01" }, true},
		"another metric": {func(f *RuleForm) { f.Other = "net" }, true},
		"name":           {func(f *RuleForm) { f.Form.Name = "x" }, true},
	} {
		f := &RuleForm{Form: usual, SavePlace: SavePlace{Errors: components.Errors{}}}
		if c.change(f); f.more() != c.open {
			t.Errorf("%s: %t", what, f.more())
		}
	}
}

func TestTimeHelp(t *testing.T) {
	t.Parallel()
	w := priceWords(t)
	if got := timeHelp(w, "Then."); !strings.HasPrefix(got, "Then. Times are Europe/Berlin; of an hour that clocks show twice") {
		t.Error(got)
	}
	w.Zone = time.UTC
	if got := timeHelp(w, "Then."); got != "Then. Times are UTC." {
		t.Error(got)
	}
}

func TestPriceEffects(t *testing.T) {
	t.Parallel()
	w := priceWords(t)
	flat := rating.Rule{Kind: rating.Mapping, Service: "cpu", Type: rating.Flat, Cost: money.MustParse("0.035"), Scope: "p1"}
	rate := rating.Rule{Kind: rating.Threshold, Service: "cpu", Level: money.New(-2, 0), Type: rating.Rate, Cost: money.MustParse("1.5"), End: w.Now.AddDate(0, 1, 0)}
	said := func(e Effect) string {
		return strings.Join(append([]string{e.What, e.Before, e.After, e.Change}, e.Lines...), "|")
	}
	tomorrow := time.Date(2026, 11, 22, 0, 0, 0, 0, w.Zone)
	negative := money.New(-1, 0)
	for what, c := range map[string]struct{ got, want string }{
		"new":         {said(w.NewEffect(&flat)), "1 vcpu in a window of 1 h||0.035 EUR||Applies to every window that is not rated yet"},
		"of a scope":  {said(w.NewEffect(&flat)), "Only for Genomics, in place of a rule for every scope"},
		"new factor":  {said(w.NewEffect(&rate)), "the price of the group default||× 1.5||"},
		"with an end": {said(w.NewEffect(&rate)), "Ends at 21 Dec 2026, 15:00 Europe/Berlin"},
		"level":       {said(w.NewEffect(&rate)), "never applies"},
		"dearer":      {said(w.ChangeEffect(&flat, tomorrow, rating.Flat, money.MustParse("0.040"), 0)), "1 vcpu in a window of 1 h|0.035|0.04 EUR|+14.3 %|Applies to windows from 22 Nov 2026, 00:00 Europe/Berlin on."},
		"factor":      {said(w.ChangeEffect(&flat, tomorrow, rating.Rate, money.New(2, 0), 2)), "cpu, every point|0.035 EUR per vcpu|× 2||"},
		"scopes":      {said(w.ChangeEffect(&flat, tomorrow, rating.Rate, money.New(2, 0), 2)), "2 scopes have rules of their own in place of this one and keep their price."},
		"past":        {said(w.ChangeEffect(&rate, tomorrow.AddDate(0, 0, -9), rating.Rate, money.New(2, 0), 0)), "which is in the past. Charges already made stay as they are."},
		"same end":    {said(w.ChangeEffect(&rate, tomorrow, rating.Rate, money.New(2, 0), 0)), "The new price ends when the present one would have"},
		"below 0":     {said(w.ChangeEffect(&flat, tomorrow, rating.Flat, negative, 0)), "A flat cost below 0 counts as 0."},
	} {
		if !strings.Contains(c.got, c.want) {
			t.Errorf("%s: %q is not in %s", what, c.want, c.got)
		}
	}
}
