package v1

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ratebook/rating"
)

const hashmap = "/v1/rating/module_config/hashmap"

func TestModules(t *testing.T) {
	w := begin(t)
	const pyscripts = `{"module_id":"pyscripts","description":"PyScripts rating module.","enabled":%t,"hot-config":true,"priority":%d}`
	w.want("GET", "/v1/rating/modules", "", 200, `{"modules":[{"module_id":"hashmap","description":"HashMap rating module.","enabled":true,"hot-config":true,"priority":1},`+
		`{"module_id":"noop","description":"Dummy test module.","enabled":true,"hot-config":false,"priority":1},`+fmt.Sprintf(pyscripts, false, 1)+`]}`)
	w.want("GET", "/v1/rating/modules/pyscripts/?module_id=pyscripts", "", 200, fmt.Sprintf(pyscripts, false, 1))
	w.refused("GET", "/v1/rating/modules/größe", "", 404, "Module not found.")
	w.refused("PUT", "/v1/rating/modules/nope", `{"module_id":"nope"}`, 404, "Module not found.")
	w.refused("PUT", "/v1/rating/modules/hashmap", `{"enabled":false}`, 400, "Invalid input for field/attribute module_id. Value: 'None'. Mandatory field missing.")
	w.refused("PUT", "/v1/rating/modules/hashmap", `{"module_id":"noop"}`, 400, "Parameter module_id was given several times")

	// clients PUT what they got, and follow the redirection with the same PUT
	for range 3 {
		got := w.want("PUT", "/v1/rating/modules/pyscripts", fmt.Sprintf(pyscripts, true, 7), 302, "null")
		if got.header.Get("Location") != "http://example.com/v1/rating/modules/pyscripts" {
			t.Error(got.header)
		}
	}
	if w.edits != 1 {
		t.Errorf("%d edits", w.edits)
	}
	w.want("GET", "/v1/billing/modules/pyscripts", "", 200, fmt.Sprintf(pyscripts, true, 7))
	w.want("PUT", "/v1/rating/modules/", `{"module_id":"pyscripts","priority":"0"}`, 302, "null")
	w.want("GET", "/v1/rating/modules/pyscripts", "", 200, fmt.Sprintf(pyscripts, true, 0))
	w.want("PUT", "/v1/rating/modules/noop", `{"module_id":"noop","enabled":false}`, 302, "null")
	w.want("GET", "/v1/rating/modules/noop", "", 200, `…"enabled":true…`)
	w.want("GET", "/v1/rating/reload_modules/", "", 204, "")
	w.refused("viewer GET", "/v1/rating/reload_modules", "", 403, "Policy doesn't allow rating:module_config to be performed.")
	for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
		w.refused("tenant "+method, "/v1/rating/module_config/noop", "", 409, "Module is not configurable")
	}
}

func TestServicesFieldsGroups(t *testing.T) {
	w := begin(t)
	w.want("GET", hashmap+"/types", "", 200, `["rate","flat"]`)
	w.want("GET", hashmap+"/services", "", 200, `{"services":[]}`)
	cpu, _ := w.made(hashmap+"/services", `{"name":"cpu"}`, "service_id")
	w.want("GET", hashmap+"/services/", "", 200, `{"services":[{"service_id":"`+cpu+`","name":"cpu"}]}`)
	w.want("GET", hashmap+"/services/"+strings.ToUpper(cpu), "", 200, `{"service_id":"`+cpu+`","name":"cpu"}`)
	w.refused("GET", hashmap+"/services/zz", "", 404, "No such service: None (UUID: zz)")
	w.refused("POST", hashmap+"/services", `{"name":"cpu"}`, 409, "Service cpu already exists (UUID: "+cpu+")")
	w.refused("POST", hashmap+"/services", `{"name":""}`, 400, "Invalid input for field/attribute name. Value: ''. this is empty")
	w.want("POST", hashmap+"/services", `{"name":"`+strings.Repeat("ä", 256)+`"}`, 400, "…the text has more than 255 characters…")
	w.made(hashmap+"/services/", `{"name":"größe 🎈"}`, "service_id")

	w.refused("GET", hashmap+"/fields/", "", 400, `Missing argument: "service_id"`)
	w.want("GET", hashmap+"/fields/?service_id="+someID, "", 200, `{"fields":[]}`)
	flavor, _ := w.made(hashmap+"/fields", `{"name":"flavor","service_id":"`+cpu+`"}`, "field_id")
	const shown = `{"field_id":"%s","name":"flavor","service_id":"%s"}`
	w.want("GET", hashmap+"/fields/?service_id="+cpu, "", 200, `{"fields":[`+fmt.Sprintf(shown, flavor, cpu)+`]}`)
	w.want("GET", hashmap+"/fields", `{"service_id":"`+cpu+`"}`, 200, `{"fields":[`+fmt.Sprintf(shown, flavor, cpu)+`]}`)
	w.want("GET", hashmap+"/fields/"+flavor, "", 200, fmt.Sprintf(shown, flavor, cpu))
	w.refused("GET", hashmap+"/fields/x", "", 404, "No such field: x")
	w.refused("POST", hashmap+"/fields", `{"name":"flavor","service_id":"`+cpu+`"}`, 409, "Field flavor already exists (UUID: "+flavor+")")
	w.refused("POST", hashmap+"/fields", `{"name":"x","service_id":"`+someID+`"}`, 400, "No such service: None (UUID: "+someID+")")
	w.refused("POST", hashmap+"/fields", `{"name":"x"}`, 400, "Invalid input for field/attribute service_id. Value: 'None'. Mandatory field missing.")

	bulk, _ := w.made(hashmap+"/groups", `{"name":"bulk"}`, "group_id")
	w.want("GET", hashmap+"/groups", "", 200, `{"groups":[{"group_id":"`+bulk+`","name":"bulk"}]}`)
	w.want("GET", hashmap+"/groups/"+bulk, "", 200, `{"group_id":"`+bulk+`","name":"bulk"}`)
	w.refused("GET", hashmap+"/groups/x", "", 404, "No such group: None (UUID: x)")
	w.refused("POST", hashmap+"/groups", `{"name":"bulk"}`, 409, "Group bulk already exists (UUID: "+bulk+")")
	w.want("GET", hashmap+"/groups/mappings?group_id="+bulk, "", 200, `{"mappings":[]}`)
	w.want("GET", hashmap+"/groups/"+bulk+"/thresholds", "", 200, `{"thresholds":[]}`)

	// members of a group stay without it, or go with it
	mapping, _ := w.made(hashmap+"/mappings", `{"cost":1,"service_id":"`+cpu+`","group_id":"`+bulk+`"}`, "mapping_id")
	w.want("DELETE", hashmap+"/groups/", `{"group_id":"`+bulk+`","recursive":false}`, 204, "")
	if m := w.show(hashmap + "/mappings/" + mapping); m["group_id"] != nil || m["deleted"] != nil {
		t.Error(m)
	}
	w.refused("DELETE", hashmap+"/groups/"+bulk, "", 404, "No such group: None (UUID: "+bulk+")")
	bulk, _ = w.made(hashmap+"/groups", `{"name":"bulk"}`, "group_id")
	w.want("PUT", hashmap+"/mappings/"+mapping, `{"cost":1,"group_id":"`+bulk+`"}`, 302, "")
	w.want("DELETE", hashmap+"/groups/"+bulk+"?recursive=True", "", 204, "")
	if m := w.show(hashmap + "/mappings/" + mapping); m["deleted"] == nil {
		t.Error(m)
	}

	// what has a parent goes with it
	w.made(hashmap+"/mappings", `{"cost":"1","value":"m1.tiny","field_id":"`+flavor+`"}`, "mapping_id")
	w.want("DELETE", hashmap+"/services/", `{"service_id":"`+cpu+`"}`, 204, "")
	w.refused("DELETE", hashmap+"/services/", `{"service_id":"`+cpu+`"}`, 404, "No such service: None (UUID: "+cpu+")")
	w.refused("DELETE", hashmap+"/fields/"+flavor, "", 404, "No such field: "+flavor)
	w.want("GET", hashmap+"/mappings", "", 200, `{"mappings":[]}`)
	cpu, _ = w.made(hashmap+"/services", `{"name":"cpu"}`, "service_id")
	flavor, _ = w.made(hashmap+"/fields", `{"name":"flavor","service_id":"`+cpu+`"}`, "field_id")
	w.want("DELETE", hashmap+"/fields", `{"field_id":"`+flavor+`"}`, 204, "")
}

// parents makes a service, a field and a group.
func (w *world) parents() (cpu, flavor, bulk string) {
	w.Helper()
	cpu, _ = w.made(hashmap+"/services", `{"name":"cpu"}`, "service_id")
	flavor, _ = w.made(hashmap+"/fields", `{"name":"flavor","service_id":"`+cpu+`"}`, "field_id")
	bulk, _ = w.made(hashmap+"/groups", `{"name":"bulk"}`, "group_id")
	return cpu, flavor, bulk
}

func TestMappings(t *testing.T) {
	w := begin(t)
	cpu, flavor, bulk := w.parents()
	id, made := w.made(hashmap+"/mappings?force=true", `{"cost":"1.5","type":"rate","value":"m1.tiny","field_id":"`+flavor+`","group_id":"`+bulk+
		`","tenant_id":"alpha","start":"2026-10-31T22:00:00+01:00","end":"2027-01-31","name":"tiny","description":"Größe"}`, "mapping_id")
	want := `{"mapping_id":"` + id + `","value":"m1.tiny","type":"rate","cost":"1.5000000000000000000000000000","service_id":null,"field_id":"` + flavor +
		`","group_id":"` + bulk + `","tenant_id":"alpha","created_at":"2026-11-21T12:30:15","start":"2026-10-31T21:00:00","end":"2027-01-31T23:59:59",` +
		`"name":"tiny","description":"Größe","deleted":null,"created_by":"ada","updated_by":null,"deleted_by":null}`
	w.want("GET", hashmap+"/mappings/"+id, "", 200, want)
	if shown := w.show(hashmap + "/mappings/" + id); text(made) != text(shown) {
		t.Errorf("made %s, then %s", text(made), text(shown))
	}
	w.want("GET", hashmap+"/mappings/"+id+"/group", "", 200, `{"group_id":"`+bulk+`","name":"bulk"}`)
	w.want("GET", hashmap+"/mappings/group?mapping_id="+id, "", 200, `{"group_id":"`+bulk+`","name":"bulk"}`)
	plain, made := w.made(hashmap+"/mappings/", `{"cost":0.1,"service_id":"`+strings.ToUpper(cpu)+`","value":null,"group_id":null,"field_id":null,"tenant_id":null,"type":"flat"}`, "mapping_id")
	if made["cost"] != "0.1000000000000000000000000000" || made["type"] != "flat" || made["start"] != "2026-11-21T12:30:15" || len(made["name"].(string)) != 32 || made["end"] != nil {
		t.Error(made)
	}
	w.refused("GET", hashmap+"/mappings/"+plain+"/group", "", 404, "Mapping has no group (UUID: "+plain+")")
	w.refused("GET", hashmap+"/mappings/x/group", "", 404, "No such mapping: x")
	w.refused("GET", hashmap+"/mappings/x", "", 404, "No such mapping: x")

	f, s := `"field_id":"`+flavor+`"`, `"service_id":"`+cpu+`"`
	for body, text := range map[string]string{
		`{"cost":1,` + f + `,` + s + `}`:                                  "You can only specify one parent.",
		`{"cost":1}`:                                                      "You must specify one parent.",
		`{"cost":1,` + f + `}`:                                            "You must specify a value for a field mapping.",
		`{"cost":1,` + f + `,"value":""}`:                                 "You must specify a value for a field mapping.",
		`{"cost":1,` + s + `,"value":"x"}`:                                "You can't specify a value and a service_id.",
		`{` + s + `}`:                                                     "Invalid input for field/attribute cost. Value: 'None'. Mandatory field missing.",
		`{"cost":1,` + s + `,"type":"fail"}`:                              "Invalid input for field/attribute type. Value: 'fail'. Value should be one of: flat, rate",
		`{"cost":1,"service_id":"` + someID + `"}`:                        "No such service: None (UUID: " + someID + ")",
		`{"cost":1,"value":"x","field_id":"` + someID + `"}`:              "No such field: " + someID,
		`{"cost":1,` + s + `,"group_id":"` + someID + `"}`:                "No such group: None (UUID: " + someID + ")",
		`{"cost":1,` + s + `,"start":"2026-11-21T12:30:14"}`:              "Cannot create a rule with start in the past. start=[2026-11-21 12:30:14] current time=[2026-11-21 12:30:15].",
		`{"cost":1,` + s + `,"end":"2026-11-20"}`:                         "Cannot create a rule with start after end. start=[2026-11-21 12:30:15] end=[2026-11-20 23:59:59].",
		`{"cost":1,` + s + `,"start":"2027-01-02","end":"20270101T1200"}`: "Cannot create a rule with start after end. start=[2027-01-02 00:00:00] end=[2027-01-01 12:00:00].",
		`{"cost":"0.` + strings.Repeat("1", 29) + `",` + s + `}`:          "Invalid input for field/attribute cost. Value: '0." + strings.Repeat("1", 29) + "'. the cost has too many digits",
	} {
		w.refused("POST", hashmap+"/mappings", body, 400, text)
	}
	w.want("POST", hashmap+"/mappings", `{"cost":1,`+s+`,"tenant_id":"x","description":"`+strings.Repeat("d", 5000)+`"}`, 400, "…Invalid input for field/attribute description…")

	// conflicts: the same usage at the same time, or a name that is taken
	taken := "Mapping 'm1.tiny' already exists for field '" + flavor + "', tenant: 'alpha'"
	twin := `"value":"m1.tiny",` + f + `,"group_id":"` + bulk + `","tenant_id":"alpha"`
	w.refused("POST", hashmap+"/mappings", `{"cost":2,`+twin+`}`, 409, taken)
	w.refused("POST", hashmap+"/mappings?force=1", `{"cost":2,"start":"2020-01-01",`+twin+`}`, 409, taken)
	w.made(hashmap+"/mappings?force=1", `{"cost":2,"start":"2020-01-01","end":"2026-10-31T21:00:00",`+twin+`}`, "mapping_id")
	w.made(hashmap+"/mappings", `{"cost":2,"start":"2027-01-31T23:59:59",`+twin+`}`, "mapping_id")
	w.made(hashmap+"/mappings", `{"cost":2,"value":"m1.tiny",`+f+`}`, "mapping_id")
	w.refused("POST", hashmap+"/mappings", `{"cost":2,`+s+`}`, 409, "Mapping 'None' already exists for service '"+cpu+"', tenant: 'None'")
	w.refused("POST", hashmap+"/mappings", `{"cost":2,`+s+`,"tenant_id":"x","name":"tiny"}`, 409, "Mapping 'None' already exists for service '"+cpu+"', tenant: 'x'")

	// deleted mappings are shown by their id, and where they are asked for
	w.now = w.now.Add(time.Hour)
	w.want("DELETE", hashmap+"/mappings/", `{"mapping_id":"`+id+`"}`, 204, "")
	w.refused("DELETE", hashmap+"/mappings/"+id, "", 404, "No such mapping: "+id)
	w.refused("PUT", hashmap+"/mappings/"+id, `{"cost":1}`, 404, "No such mapping: "+id)
	w.want("GET", hashmap+"/mappings/"+id, "", 200, `…"deleted":"2026-11-21T13:30:15","created_by":"ada","updated_by":null,"deleted_by":"ada"}…`)
	w.made(hashmap+"/mappings", `{"cost":2,`+s+`,"tenant_id":"x","name":"tiny"}`, "mapping_id")
}

func TestMappingFilters(t *testing.T) {
	w := begin(t)
	cpu, flavor, bulk := w.parents()
	for name, body := range map[string]string{
		"service": `"service_id":"` + cpu + `","description":"Half PRICE"`,
		"grouped": `"service_id":"` + cpu + `","group_id":"` + bulk + `","tenant_id":"alpha"`,
		"field":   `"field_id":"` + flavor + `","value":"x","start":"2027-01-01","end":"2027-06-30"`,
		"past":    `"field_id":"` + flavor + `","value":"x","start":"2025-01-01","end":"2026-01-01"`,
		"gone":    `"field_id":"` + flavor + `","value":"y"`,
	} {
		id, _ := w.made(hashmap+"/mappings?force=true", `{"cost":1,"name":"`+name+`",`+body+`}`, "mapping_id")
		if name == "gone" {
			w.want("operator DELETE", hashmap+"/mappings/"+id, "", 204, "")
		}
		if name == "service" {
			w.want("operator PUT", hashmap+"/mappings/"+id, `{"cost":2,"description":"Half PRICE"}`, 302, "")
		}
	}
	threshold, _ := w.made(hashmap+"/thresholds", `{"level":1,"cost":1,"service_id":"`+cpu+`"}`, "threshold_id")
	for query, want := range map[string]string{
		"":                                "field grouped past service",
		"all=true":                        "field grouped past service",
		"all=false&service_id=" + cpu:     "grouped service",
		"service_id=" + cpu:               "grouped service",
		"field_id=" + flavor:              "field past",
		"service_id=" + someID:            "",
		"service_id=zz":                   "",
		"group_id=" + bulk:                "grouped",
		"no_group=1":                      "field past service",
		"tenant_id=alpha":                 "field grouped past service",
		"tenant_id=alpha&filter_tenant=1": "grouped",
		"filter_tenant=true":              "field past service",
		"deleted=true":                    "field gone grouped past service",
		"deleted=true&deleted_by=otto":    "gone",
		"deleted_by=otto":                 "",
		"created_by=ada":                  "field grouped past service",
		"created_by=otto":                 "",
		"updated_by=otto":                 "service",
		"description=price":               "service",
		"start=2026-11-01":                "field grouped service",
		"end=2027-01-01":                  "past",
		"is_active=true":                  "grouped service",
		"is_active=false":                 "field grouped past service",
		"is_active=2027-02-01%2012:00":    "field grouped service",
		"is_active=true&deleted=true":     "grouped service",
	} {
		var got []string
		for _, m := range w.show(hashmap + "/mappings/?" + query)["mappings"].([]any) {
			got = append(got, m.(map[string]any)["name"].(string))
		}
		if sorted := sortedText(got); sorted != want {
			t.Errorf("%s: %s, not %s", query, sorted, want)
		}
	}
	w.refused("GET", hashmap+"/mappings?all=false", "", 400, "You must specify either service_uuid, field_uuid or group_uuid.")
	w.refused("GET", hashmap+"/mappings/"+threshold, "", 404, "No such mapping: "+threshold)
	w.refused("DELETE", hashmap+"/mappings/"+threshold, "", 404, "No such mapping: "+threshold)
	w.refused("PUT", hashmap+"/mappings/"+threshold, `{"cost":1}`, 404, "No such mapping: "+threshold)
}

// TestChangeMapping checks what may become of mappings that have not begun, have begun, and have priced something.
func TestChangeMapping(t *testing.T) {
	w := begin(t)
	cpu, flavor, bulk := w.parents()
	id, made := w.made(hashmap+"/mappings", `{"cost":1,"value":"x","field_id":"`+flavor+`","description":"old","end":"2027-06-30T00:00:00"}`, "mapping_id")
	at := hashmap + "/mappings/" + id
	show := func(want string) {
		t.Helper()
		m := w.show(at)
		if got := fmt.Sprintf("%.3s %s %s %t %v %v %s %v", m["cost"], m["type"], m["value"], m["group_id"] != nil, m["tenant_id"], m["description"], m["start"], m["end"]); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	// begun, but nothing was priced: as clients do, all of it to the collection
	made["cost"] = "2.5"
	got := w.want("PUT", hashmap+"/mappings/", text(made), 302, "")
	if got.header.Get("Location") != "http://example.com"+hashmap+"/mappings/" {
		t.Error(got.header)
	}
	show("2.5 flat x false <nil> old 2026-11-21T12:30:15 2027-06-30T00:00:00")
	w.want("PUT", at, `{"cost":3,"type":"rate","value":"y","group_id":"`+bulk+`","tenant_id":"alpha","name":"new","start":"2026-12-01"}`, 302, "")
	show("3.0 rate y true alpha <nil> 2026-12-01T00:00:00 <nil>")
	edits := w.edits
	w.want("PUT", at, `{"cost":"3.00","field_id":"`+flavor+`","name":"new"}`, 302, "")
	if w.edits != edits {
		t.Error("a change that is none was stored")
	}
	w.want("PUT", at, `{"cost":3,"group_id":null,"tenant_id":null,"start":null}`, 302, "")
	show("3.0 rate y false <nil> <nil> 2026-12-01T00:00:00 <nil>")
	w.refused("PUT", at, `{"value":"y"}`, 400, "Invalid input for field/attribute cost. Value: 'None'. Mandatory field missing.")
	w.refused("PUT", at, `{"cost":3,"start":"2026-11-01"}`, 400, "Cannot create a rule with start in the past. start=[2026-11-01 00:00:00] current time=[2026-11-21 12:30:15].")
	w.refused("PUT", at, `{"cost":3,"end":"2026-11-01"}`, 400, "Cannot create a rule with start after end. start=[2026-12-01 00:00:00] end=[2026-11-01 23:59:59].")
	w.refused("PUT", at, `{"cost":3,"service_id":"`+cpu+`"}`, 400, "Invalid input for field/attribute service_id. Value: '"+cpu+"'. A rule stays with its parent; delete it and make another one.")
	w.refused("PUT", at, `{"cost":3,"group_id":"`+someID+`"}`, 400, "No such group: None (UUID: "+someID+")")
	w.refused("PUT", at, `{"cost":3,"mapping_id":"`+someID+`"}`, 400, "Parameter mapping_id was given several times")
	w.refused("PUT", hashmap+"/mappings", `{"cost":3}`, 400, `Missing argument: "mapping_id"`)
	w.refused("PUT", hashmap+"/mappings/zz", `{"cost":3}`, 404, "No such mapping: zz")
	w.made(hashmap+"/mappings", `{"cost":1,"value":"z","field_id":"`+flavor+`","name":"other"}`, "mapping_id")
	w.refused("PUT", at, `{"cost":3,"value":"z"}`, 409, "Mapping 'z' already exists for field '"+flavor+"', tenant: 'None'")
	w.refused("PUT", at, `{"cost":3,"name":"other"}`, 409, "Mapping 'y' already exists for field '"+flavor+"', tenant: 'None'")

	// one that has not begun, and that points were priced with that were pushed for then
	w.priced[id] = true
	w.refused("PUT", at, `{"cost":4}`, 400, "You are allowed to update only the attribute [end] as this rule is already running as it started on [2026-12-01 00:00:00]")
	w.want("PUT", at, `{"cost":3,"name":"new"}`, 302, "")

	// priced: only its end may change, to a time that is to come; what has an end stays
	w.now = time.Date(2026, 12, 24, 0, 0, 0, 0, time.UTC)
	w.priced[id] = true
	made = w.show(at)
	w.want("PUT", hashmap+"/mappings/", text(made), 302, "")
	only := "You are allowed to update only the attribute [end] as this rule is already running as it started on [2026-12-01 00:00:00]"
	w.refused("PUT", at, `{"cost":4}`, 400, only)
	w.refused("PUT", at, `{"cost":3,"type":"flat","end":"2027-01-01"}`, 400, only)
	w.refused("PUT", at, `{"cost":3,"start":"2026-12-02"}`, 400, only)
	w.refused("PUT", at, `{"cost":3,"description":"new"}`, 400, only)
	w.refused("PUT", at, `{"cost":3,"end":"2026-12-23"}`, 400, "End date must be in the future. end=[2026-12-23 23:59:59] current time=[2026-12-24 00:00:00]")
	made["end"] = "2026-12-31"
	for range 31 { // so often do clients follow the redirection with the same request
		w.want("PUT", hashmap+"/mappings/", text(made), 302, "")
	}
	show("3.0 rate y false <nil> <nil> 2026-12-01T00:00:00 2026-12-31T23:59:59")
	w.refused("PUT", at, `{"cost":3,"end":"2027-01-31"}`, 400, "Cannot update a rule that was already processed and has a defined end date.")
	w.refused("PUT", at, `{"cost":3,"end":null}`, 400, "Cannot update a rule that was already processed and has a defined end date.")
	w.want("PUT", at, `{"cost":3}`, 302, "")
	if m := w.show(at); m["updated_by"] != "ada" {
		t.Error(m)
	}
}

// TestForeignRules shows rules that were not made over the API.
func TestForeignRules(t *testing.T) {
	w := begin(t)
	_, err := w.EditRules(context.Background(), "cli:root", "", func(r *rating.Rules) (*rating.Rules, error) {
		next, _, err := r.Add(rating.Rule{Kind: rating.Mapping, Service: "cpu", Type: rating.Flat})
		return next, err
	})
	if err != nil {
		t.Fatal(err)
	}
	m := w.show(hashmap + "/mappings")["mappings"].([]any)[0].(map[string]any)
	if m["start"] != "1970-01-01T00:00:00" || m["name"] != strings.ReplaceAll(m["mapping_id"].(string), "-", "") || m["created_by"] != "cli:root" {
		t.Error(m)
	}
	edits := w.edits
	w.want("PUT", hashmap+"/mappings", text(m), 302, "")
	if w.edits != edits {
		t.Error("a change that is none was stored")
	}
	m["end"] = "2027-01-01T00:00:00"
	w.want("PUT", hashmap+"/mappings", text(m), 302, "")
	if r := w.rules.Hashmap[0]; !r.Start.IsZero() || r.Name != "" || r.End.IsZero() {
		t.Error(r)
	}
}

func TestThresholds(t *testing.T) {
	w := begin(t)
	cpu, flavor, bulk := w.parents()
	id, made := w.made(hashmap+"/thresholds", `{"level":10,"cost":"0.1","service_id":"`+cpu+`","group_id":"`+bulk+`"}`, "threshold_id")
	want := `{"threshold_id":"` + id + `","level":"10.00000000","type":"flat","cost":"0.1000000000000000000000000000","service_id":"` + cpu +
		`","field_id":null,"group_id":"` + bulk + `","tenant_id":null}`
	w.want("GET", hashmap+"/thresholds/"+id, "", 200, want)
	w.want("GET", hashmap+"/thresholds/?service_id="+cpu, "", 200, `{"thresholds":[`+want+`]}`)
	w.want("GET", hashmap+"/thresholds/?group_id="+bulk, "", 200, `{"thresholds":[`+want+`]}`)
	w.want("GET", hashmap+"/groups/"+bulk+"/thresholds", "", 200, `{"thresholds":[`+want+`]}`)
	w.want("GET", hashmap+"/thresholds/?field_id="+flavor, "", 200, `{"thresholds":[]}`)
	w.want("GET", hashmap+"/thresholds/?service_id="+cpu+"&no_group=true", "", 200, `{"thresholds":[]}`)
	w.want("GET", hashmap+"/thresholds/?service_id="+cpu+"&filter_tenant=true&tenant_id=x", "", 200, `{"thresholds":[]}`)
	w.refused("GET", hashmap+"/thresholds", "", 400, "You must specify either service_uuid, field_uuid or group_uuid.")
	w.refused("GET", hashmap+"/thresholds/x", "", 404, "No such threshold: x")
	w.want("GET", hashmap+"/thresholds/group?threshold_id="+id, "", 200, `{"group_id":"`+bulk+`","name":"bulk"}`)
	w.refused("GET", hashmap+"/thresholds/x/group", "", 404, "No such threshold: x")

	w.refused("POST", hashmap+"/thresholds", `{"cost":1,"service_id":"`+cpu+`"}`, 400, "Invalid input for field/attribute level. Value: 'None'. Mandatory field missing.")
	w.refused("POST", hashmap+"/thresholds", `{"level":1,"cost":1}`, 400, "You must specify one parent.")
	w.refused("POST", hashmap+"/thresholds", `{"level":"0.123456789","cost":1,"service_id":"`+cpu+`"}`, 400,
		"Invalid input for field/attribute level. Value: '0.123456789'. this is no level that the rule can have")
	w.refused("POST", hashmap+"/thresholds", `{"level":"10.0","cost":1,"service_id":"`+cpu+`","group_id":"`+bulk+`"}`, 409,
		"Threshold '10' already exists for service '"+cpu+"', tenant: 'None'")
	w.refused("POST", hashmap+"/thresholds", `{"level":1,"cost":1,"name":"x"}`, 400, "Unknown attribute for argument threshold_data: name")
	plain, _ := w.made(hashmap+"/thresholds", `{"level":"4","cost":"2","type":"rate","field_id":"`+flavor+`","tenant_id":"größe"}`, "threshold_id")
	w.refused("GET", hashmap+"/thresholds/"+plain+"/group", "", 404, "Threshold has no group (UUID: "+plain+")")

	// they may be changed always
	w.priced[id] = true
	made["cost"], made["level"], made["type"], made["group_id"], made["tenant_id"] = "0.2", "11", "rate", nil, "alpha"
	w.want("PUT", hashmap+"/thresholds/", text(made), 302, "")
	edits := w.edits
	w.want("PUT", hashmap+"/thresholds/"+id, text(made), 302, "")
	if m := w.show(hashmap + "/thresholds/" + id); text(m) != text(made) && (m["cost"].(string)[:3] != "0.2" || m["type"] != "rate" || m["tenant_id"] != "alpha" || m["group_id"] != nil) || w.edits != edits {
		t.Error(m, w.edits)
	}
	w.refused("PUT", hashmap+"/thresholds/x", `{"level":1,"cost":1}`, 404, "No such threshold: x")
	w.want("DELETE", hashmap+"/thresholds/", `{"threshold_id":"`+id+`"}`, 204, "")
	w.refused("DELETE", hashmap+"/thresholds/"+id, "", 404, "No such threshold: "+id)
	w.refused("GET", hashmap+"/thresholds/"+id, "", 404, "No such threshold: "+id)
}

func TestScripts(t *testing.T) {
	w := begin(t)
	const scripts = "/v1/rating/module_config/pyscripts/scripts"
	w.want("GET", scripts, "", 200, `{"scripts":[]}`)
	id, made := w.made(scripts, `{"name":"p","data":"data = data # 1 < 2"}`, "script_id")
	sum := made["checksum"].(string)
	want := `{"script_id":"` + id + `",%s"checksum":"` + sum + `","created_at":"2026-11-21T12:30:15","start":"2026-11-21T12:30:15","end":null,` +
		`"name":"p","description":null,"deleted":null,"created_by":"ada","updated_by":null,"deleted_by":null}`
	w.want("GET", scripts+"/"+id, "", 200, fmt.Sprintf(want, `"data":"data = data # 1 \u003c 2",`))
	w.want("GET", scripts+"/?no_data=True", "", 200, `{"scripts":[`+fmt.Sprintf(want, "")+`]}`)
	if len(sum) != 128 {
		t.Error(sum)
	}
	w.refused("GET", scripts+"/42", "", 404, "No such script: None (UUID: 42)")
	w.refused("POST", scripts, `{"name":"p"}`, 409, "Script p already exists (UUID: "+id+")")
	w.refused("POST", scripts, `{"data":"x"}`, 400, "Invalid input for field/attribute name. Value: 'None'. Mandatory field missing.")
	w.refused("POST", scripts, `{"name":"q","start":"2020-01-01"}`, 400, "Cannot create a rule with start in the past. start=[2020-01-01 00:00:00] current time=[2026-11-21 12:30:15].")
	w.made(scripts+"?force=true", `{"name":"does not compile","data":"def","start":"2020-01-01","end":"2021-01-01","description":"old"}`, "script_id")
	if all := w.show(scripts + "?is_active=true")["scripts"].([]any); len(all) != 1 {
		t.Error(all)
	}
	if all := w.show(scripts + "?description=OLD")["scripts"].([]any); len(all) != 1 {
		t.Error(all)
	}

	// begun, but nothing was priced
	delete(made, "checksum")
	made["data"], made["description"] = "größe", "new"
	got := w.want("PUT", scripts+"/"+id, text(made), 201, `…"data":"größe"…`)
	if got.header.Get("Location") != "http://example.com"+scripts+"/"+id {
		t.Error(got.header)
	}
	w.want("PUT", scripts, `{"script_id":"`+id+`","name":"renamed"}`, 201, `…"data":"größe"…"name":"renamed"…`[:len(`…"data":"größe"…`)])
	if m := w.show(scripts + "/" + id); m["name"] != "renamed" || m["description"] != nil || m["data"] != "größe" {
		t.Error(m)
	}
	w.want("PUT", scripts+"/"+id, `{"name":"does not compile"}`, 409, "…Script does not compile already exists…")
	w.refused("PUT", scripts+"/42", `{"name":"x"}`, 404, "No such script: None (UUID: 42)")
	w.refused("PUT", scripts+"/"+id, `{"data":"x"}`, 400, "Invalid input for field/attribute name. Value: 'None'. Mandatory field missing.")

	// priced
	w.priced[id] = true
	w.now = w.now.Add(time.Hour)
	w.refused("PUT", scripts+"/"+id, `{"name":"renamed","data":"other"}`, 400,
		"You are allowed to update only the attribute [end] as this rule is already running as it started on [2026-11-21 12:30:15]")
	w.want("PUT", scripts+"/"+id, `{"name":"renamed"}`, 201, "…")
	w.want("PUT", scripts+"/"+id, `{"name":"renamed","end":"2027-01-01"}`, 201, `…"end":"2027-01-01T23:59:59"…`)
	w.want("PUT", scripts+"/"+id, `{"name":"renamed","end":"2027-01-01"}`, 201, "…")
	w.refused("PUT", scripts+"/"+id, `{"name":"renamed","end":"2028-01-01"}`, 400, "Cannot update a rule that was already processed and has a defined end date.")

	w.want("DELETE", scripts+"/"+id, "", 204, "")
	w.refused("DELETE", scripts+"/", `{"script_id":"`+id+`"}`, 404, "No such script: None (UUID: "+id+")")
	w.refused("GET", scripts+"/"+id, "", 404, "No such script: None (UUID: "+id+")")
	if all := w.show(scripts + "?deleted=1&deleted_by=ada")["scripts"].([]any); len(all) != 1 {
		t.Error(all)
	}
	w.made(scripts, `{"name":"renamed"}`, "script_id")
	w.made(scripts, `{"name":"Größe 🎈"}`, "script_id")
}

func TestQuote(t *testing.T) {
	w := begin(t)
	cpu, flavor, _ := w.parents()
	w.made(hashmap+"/mappings", `{"cost":"0.5","service_id":"`+cpu+`"}`, "mapping_id")
	w.made(hashmap+"/mappings", `{"cost":"1.5","value":"tiny","field_id":"`+flavor+`"}`, "mapping_id")
	w.made(hashmap+"/mappings", `{"cost":"7","value":"4","field_id":"`+flavor+`"}`, "mapping_id")
	w.made(hashmap+"/mappings", `{"cost":"9","value":"tiny","field_id":"`+flavor+`","tenant_id":"alpha"}`, "mapping_id")
	for body, want := range map[string]string{
		`{"resources":[]}`: `"0"`,
		`{"resources":[{"service":"disk","volume":"2"}]}`:                                                                 `"0"`,
		`{"resources":[{"service":"cpu","volume":"2"}]}`:                                                                  `"1.000000000000000000000000000"`,
		`{"resources":[{"service":"cpu","desc":{"flavor":"tiny"},"volume":2}]}`:                                           `"1.000000000000000000000000000"`,
		`{"resources":[{"service":"cpu","desc":{"groupby":{"flavor":"tiny"}},"volume":"2"}]}`:                             `"3.000000000000000000000000000"`,
		`{"resources":[{"service":"cpu","desc":{"metadata":{"flavor":"tiny","x":null}},"volume":"2"}]}`:                   `"3.000000000000000000000000000"`,
		`{"resources":[{"service":"cpu","desc":{"metadata":{"flavor":4}},"volume":"2"},{"service":"cpu","volume":0.01}]}`: `"14.00500000000000000000000000"`,
		`{"resources":[{"service":"cpu","desc":null,"volume":0.02}]}`:                                                     `"0.0100000000000000000000000000"`,
		`{"resources":[{"service":"cpu","volume":"1e30"}]}`:                                                               `"500000000000000000000000000000"`,
	} {
		w.want("tenant POST", "/v1/rating/quote", body, 200, want)
	}
	for body, want := range map[string]string{
		`{}`:                                "Invalid input for field/attribute resources. Value: 'None'. Mandatory field missing.",
		`{"resources":{}}`:                  "Invalid input for field/attribute resources. Value: '{}'. Wrong type. Expected 'list', got 'dict'",
		`{"resources":[5]}`:                 "Invalid input for field/attribute resources. Value: '5'. Wrong type. Expected 'dict', got 'int'",
		`{"resources":[null]}`:              "Invalid input for field/attribute resources. Value: 'null'. Wrong type. Expected 'dict', got 'NoneType'",
		`{"resources":[{"volume":"2"}]}`:    "Invalid input for field/attribute service. Value: 'None'. Mandatory field missing.",
		`{"resources":[{"service":"cpu"}]}`: "Invalid input for field/attribute volume. Value: 'None'. Mandatory field missing.",
		`{"resources":[{"service":"cpu","volume":"x"}]}`:                       "Invalid input for field/attribute volume. Value: 'x'. unable to convert to decimal. Error: it is not a decimal number that can be computed with",
		`{"resources":[{"service":"cpu","volume":"1","x":1}]}`:                 "Unknown attribute for argument res_data: x",
		`{"resources":[{"service":"cpu","volume":"1","desc":5}]}`:              "Invalid input for field/attribute desc. Value: '5'. Wrong type. Expected 'dict', got 'int'",
		`{"resources":[{"service":"cpu","volume":"1","desc":{"groupby":[]}}]}`: "Invalid input for field/attribute desc.groupby. Value: '[]'. Wrong type. Expected 'dict', got 'list'",
	} {
		w.refused("POST", "/v1/rating/quote", body, 400, want)
	}
	resources := func(n int) string {
		return `{"resources":[` + strings.Repeat(`{"service":"cpu","volume":"2"},`, n-1) + `{"service":"cpu","volume":"2"}]}`
	}
	w.want("tenant POST", "/v1/rating/quote", resources(10_000), 200, `"10000.00000000000000000000000"`)
	w.refused("POST", "/v1/rating/quote", resources(10_001), 400, "A quote can be asked for 10000 resources, not for 10001. Ask for several quotes.")
	// a script that fails: here nothing runs scripts
	w.want("PUT", "/v1/rating/modules/pyscripts", `{"module_id":"pyscripts","enabled":true}`, 302, "null")
	w.made("/v1/rating/module_config/pyscripts/scripts?force=true", `{"name":"p","data":"data = data","start":"2020-01-01"}`, "script_id")
	w.want("viewer POST", "/v1/rating/quote", `{"resources":[{"service":"cpu","volume":"2"}]}`, 409, "…this process runs no scripts…")
	w.refused("tenant POST", "/v1/rating/quote", `{"resources":[{"service":"cpu","volume":"2"}]}`, 409,
		"A rating script fails, so nothing can be quoted; whoever runs Ratebook can see why.")
}

func BenchmarkCreateMapping(b *testing.B) {
	m := newMemory()
	h := newWorld(b, m)
	ask := func(path, body string) string {
		r := httptest.NewRequest(http.MethodPost, hashmap+path, strings.NewReader(body))
		r.Header.Set("X-Auth-Token", "admin")
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if rec.Code != http.StatusCreated {
			b.Fatal(rec.Body)
		}
		return rec.Body.String()
	}
	ask("/services", `{"name":"cpu"}`)
	ask("/fields", `{"name":"flavor","service_id":"`+m.rules.Services[0].ID+`"}`)
	field := m.rules.Services[0].Fields[0].ID
	n := 0
	for b.Loop() {
		n++
		ask("/mappings", fmt.Sprintf(`{"cost":1,"value":"m%d","field_id":"%s"}`, n, field))
	}
}
