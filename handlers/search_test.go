package handlers

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

func TestSearch(t *testing.T) {
	s := newMonthSite(t, sampleMonth(), "UTC", monthNow)
	for q, want := range map[string]string{ // where the only exact hit leads
		"Genomics": "/scopes/1",
		"GENOMICS": "/scopes/1",
		"ram":      "/metrics/ram",
		"region":   "/costs?group=region",
		"medium":   "/pricing/rules/1b4e28ba-2fa1-11d2-883f-0016d3cca427",
		"geno":     "", // not exactly
		"c":        "", // not the only one
	} {
		p := s.get("/search?" + url.Values{"q": {q}}.Encode())
		if got := p.header.Get("Location"); got != want || (p.status == 303) != (want != "") {
			t.Errorf("%s leads to %q with %d", q, got, p.status)
		}
	}
	s.get("/search?q=r").ok().says("Attributes", "flavor of cpu", "region of cpu", "Metrics", "ram ram_bytes")
	s.get("/search?q=m1.med").ok().says("Rules", "flavor = m1.medium")
	s.get("/search").ok().says("Nothing is sought yet")
	s.get("/search?q=+++").ok().says("Nothing is sought yet")
	s.get("/search?q=%3Ci%3Ezzz").ok().says("Nothing found for “<i>zzz”", "rules by name and value").lacks("<i>")
	s.get("/search?q="+strings.Repeat("%C3%A4", 5000)).ok().says("Nothing found", strings.Repeat("ä", 200)).lacks(strings.Repeat("ä", 201))
	for i := range 60 {
		s.store.states = append(s.store.states, state(int64(100+i), fmt.Sprintf("many%d", i), "", monthNow))
	}
	if p := s.get("/search?q=many").ok().says("and 10 others"); p.Find(".hits li").Length() != 50 {
		t.Errorf("%d hits", p.Find(".hits li").Length())
	}
	s.user = tenant
	if p := s.get("/search?q=Genomics"); p.header.Get("Location") != "/scopes/1" {
		t.Errorf("a tenant's own scope: %d", p.status)
	}
	s.get("/search?q=ram").ok().says("Nothing found")
	for _, method := range []string{"Scopes", "Configuration", "Rules"} {
		s.user, s.store.broken = viewer, map[string]error{method: errors.New("gone")}
		if p := s.get("/search?q=x"); p.status != 500 {
			t.Errorf("%s: status %d", method, p.status)
		}
	}
}
