package rating

import "time"

// File is a rules file that was found to be correct: modules, groups, services, fields, hashmap rules and scripts, by name.
//
//	modules: {hashmap: {enabled: true, priority: 1}}
//	groups: [bulk]
//	services:
//	  - name: cpu                       # the metric's name
//	    mappings: [{type: flat, cost: "0.0005", group: bulk}]
//	    thresholds: [{level: "100", type: rate, cost: "0.9"}]
//	    fields:
//	      - name: flavor                # an attribute
//	        mappings: [{value: m1.tiny, type: flat, cost: "0.01", scope: ID, start: TIME, end: TIME}]
//	        thresholds: [{level: "8", cost: "0.0025", name: TEXT, description: TEXT}]
//	scripts:
//	  - name: weekend
//	    start: TIME
//	    end: TIME
//	    description: TEXT
//	    data: |                         # the script's text
//	      for point in data["usage"].get("cpu", []):
//	          point["rating"]["price"] *= decimal("0.5")
//
// Numbers and values mean their text, quoted or not: 0.0005 is exactly that, value: 4.0 is the text 4.0, value: true the
// text true. TIME is RFC 3339 in whole seconds, or a day, which stands for its first instant in the billing zone; a rule
// without a start is valid since the beginning of time, one without an end for ever, and the end is the first instant at
// which a rule is not valid any more. The type of a rule is flat and a module's priority 1 if the file doesn't say so. A
// group exists once a rule names it, listed under groups or not. No two rules may share their kind, service, field, value or
// level, scope, group and start, and no two scripts their name. A script is not compiled: one with a mistake is stored, but
// never runs. Names, values and scopes have at most 255 characters, descriptions 4096, scripts 1,048,576.
type File struct {
	modules  []Module
	groups   []string
	services []Service // without ids
	rules    []Rule    // without ids
	scripts  []Script  // without ids
}

// Limits of a rules file. Numbers are bounded as in CloudKitty's tables, so that whatever came from there goes in.
const (
	maxFile        = 8 << 20 // bytes; some 100,000 rules
	maxText        = 255     // characters of a name, value or scope
	maxDescription = 4096    // characters
	maxListed      = 1000    // mistakes
)

// identity tells rules apart: no two rules of one version share it.
type identity struct {
	kind                         Kind
	service, field, value, level string
	scope, group                 string
	start                        int64 // seconds since the epoch
}

func (r *Rule) identity() identity {
	id := identity{
		kind: r.Kind, service: r.Service, field: r.Field, value: r.Value, scope: r.Scope, group: r.Group, start: r.Start.Unix(),
	}
	if r.Kind == Threshold {
		id.level = r.Level.String()
	}
	return id
}

// ParseFile reads a rules file. The name is only for messages, zone is the billing zone. The error is a [fault.Error] of
// kind Invalid that lists everything that is wrong with the file, each with "name:line: key path"; of very many mistakes the
// first 1000.
func ParseFile(name string, content []byte, zone *time.Location) (*File, error) {
	d := decoder{file: name, zone: zone}
	f := &File{}
	if root := d.document(content); root != nil {
		d.rules(root, f)
	}
	if d.mistakes > 0 {
		return nil, d.err()
	}
	return f, nil
}
