package cloudkitty

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"time"

	"ratebook/money"
)

// Module is a rating module.
type Module struct {
	ID       string `json:"module_id"`
	Enabled  bool   `json:"enabled"`
	Priority int    `json:"priority"`
}

// Modules lists the rating modules.
func (c *Client) Modules(ctx context.Context) ([]Module, error) {
	var answer struct{ Modules []Module }
	err := c.get(ctx, "/v1/rating/modules/", nil, &answer)
	return answer.Modules, err
}

// Hashmap is all that the module hashmap has.
type Hashmap struct {
	Services []Service
	Groups   []Group
	Rules    []Rule
}

// Service has the name of a metric.
type Service struct {
	ID     string `json:"service_id"`
	Name   string `json:"name"`
	Fields []Field
}

// Field has the name of an attribute.
type Field struct {
	ID   string `json:"field_id"`
	Name string `json:"name"`
}

// Group joins rules.
type Group struct {
	ID   string `json:"group_id"`
	Name string `json:"name"`
}

// Rule is a mapping, or, with Threshold, a threshold.
type Rule struct {
	ID                string
	Threshold         bool
	Service           *Service
	Field             *Field // nil: a rule of the service itself
	Value             string
	Level, Cost       money.Decimal
	Type              string // flat or rate
	GroupID           string // empty: none
	Tenant            string // empty: all
	Start, End        time.Time
	Name, Description string
}

const hashmapPath = "/v1/rating/module_config/hashmap/"

// Hashmap reads the hashmap as it is now, or nothing. Deleted rules are not part of it.
func (c *Client) Hashmap(ctx context.Context) (*Hashmap, error) {
	var services struct{ Services []Service }
	if err := c.get(ctx, hashmapPath+"services/", nil, &services); err != nil {
		return nil, err
	}
	var groups struct{ Groups []Group }
	if err := c.get(ctx, hashmapPath+"groups/", nil, &groups); err != nil {
		return nil, err
	}
	h := &Hashmap{Services: services.Services, Groups: groups.Groups}
	for i := range h.Services {
		s := &h.Services[i]
		of := url.Values{"service_id": {s.ID}}
		var fields struct{ Fields []Field }
		if err := c.get(ctx, hashmapPath+"fields/", of, &fields); err != nil {
			return nil, err
		}
		s.Fields = fields.Fields
		if err := c.rules(ctx, h, s, nil, of); err != nil {
			return nil, err
		}
		for j := range s.Fields {
			f := &s.Fields[j]
			if err := c.rules(ctx, h, s, f, url.Values{"field_id": {f.ID}}); err != nil {
				return nil, err
			}
		}
	}
	return h, nil
}

// ruleJSON is a mapping or a threshold.
type ruleJSON struct {
	MappingID   string `json:"mapping_id"`
	ThresholdID string `json:"threshold_id"`
	Value       text   `json:"value"`
	Level       number `json:"level"`
	Type        string `json:"type"`
	Cost        number `json:"cost"`
	FieldID     text   `json:"field_id"`
	GroupID     text   `json:"group_id"`
	TenantID    text   `json:"tenant_id"`
	Start       moment `json:"start"`
	End         moment `json:"end"`
	Name        text   `json:"name"`
	Description text   `json:"description"`
	Deleted     moment `json:"deleted"`
}

// rules reads the mappings and thresholds of a service or a field. Thresholds can't be listed in another way, and mappings not by
// all servers.
func (c *Client) rules(ctx context.Context, h *Hashmap, s *Service, f *Field, of url.Values) error {
	var mappings struct{ Mappings []ruleJSON }
	if err := c.get(ctx, hashmapPath+"mappings/", of, &mappings); err != nil {
		return err
	}
	var thresholds struct{ Thresholds []ruleJSON }
	if err := c.get(ctx, hashmapPath+"thresholds/", of, &thresholds); err != nil {
		return err
	}
	for _, w := range slices.Concat(mappings.Mappings, thresholds.Thresholds) {
		if !w.Deleted.IsZero() || f == nil && w.FieldID != "" {
			continue
		}
		r := Rule{
			ID: w.MappingID, Service: s, Field: f, Value: string(w.Value), Level: w.Level.Decimal, Cost: w.Cost.Decimal, Type: w.Type,
			GroupID: string(w.GroupID), Tenant: string(w.TenantID), Start: w.Start.firstSecond(), End: w.End.firstSecond(),
			Name: string(w.Name), Description: string(w.Description),
		}
		if w.ThresholdID != "" {
			r.ID, r.Threshold = w.ThresholdID, true
		}
		h.Rules = append(h.Rules, r)
	}
	return nil
}

// Script is a script of the module pyscripts, in Python.
type Script struct {
	ID, Name, Data, Description string
	Start, End                  time.Time
}

// Scripts lists the scripts that were not deleted.
func (c *Client) Scripts(ctx context.Context) (all []Script, err error) {
	var answer struct {
		Scripts []struct {
			ID          string `json:"script_id"`
			Name        string `json:"name"`
			Data        text   `json:"data"`
			Start       moment `json:"start"`
			End         moment `json:"end"`
			Description text   `json:"description"`
			Deleted     moment `json:"deleted"`
		}
	}
	if err := c.get(ctx, "/v1/rating/module_config/pyscripts/scripts/", nil, &answer); err != nil {
		return nil, err
	}
	for _, s := range answer.Scripts {
		if s.Deleted.IsZero() {
			all = append(all, Script{s.ID, s.Name, string(s.Data), string(s.Description), s.Start.firstSecond(), s.End.firstSecond()})
		}
	}
	return all, nil
}

// Metrics returns what metrics.yml has under its key metrics, by name, each in JSON that YAML's readers take, too.
func (c *Client) Metrics(ctx context.Context) (map[string]json.RawMessage, error) {
	var answer struct{ Metrics map[string]json.RawMessage }
	if err := c.get(ctx, "/v1/info/config", nil, &answer); err != nil {
		return nil, err
	}
	for name, raw := range answer.Metrics {
		// numbers stay as they are written; texts don't stay escaped, for YAML knows no halves of characters
		in := json.NewDecoder(bytes.NewReader(raw))
		in.UseNumber()
		var value any
		if err := in.Decode(&value); err != nil {
			return nil, err
		}
		var b bytes.Buffer
		out := json.NewEncoder(&b)
		out.SetEscapeHTML(false)
		if err := out.Encode(value); err != nil {
			return nil, err
		}
		answer.Metrics[name] = bytes.TrimSpace(b.Bytes())
	}
	return answer.Metrics, nil
}
