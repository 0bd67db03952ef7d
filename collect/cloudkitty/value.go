package cloudkitty

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"ratebook/money"
)

// number is a decimal number, as a JSON number (v2) or as a text (v1).
type number struct {
	money.Decimal
	given bool // not null
}

// longestNumber is the most characters of a number.
const longestNumber = 1000

func (n *number) UnmarshalJSON(b []byte) (err error) {
	if string(b) == "null" {
		return nil
	}
	if b[0] == '"' {
		var text string
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
		b = []byte(strings.TrimSpace(text))
	}
	if len(b) > longestNumber {
		return fmt.Errorf("a number has %d characters", len(b))
	}
	n.Decimal, err = money.ParseBytes(b)
	n.given = true
	if err != nil {
		return fmt.Errorf("%q is no number", excerpt(string(b)))
	}
	return nil
}

// moment is a time, with or without an offset; without one it is UTC. Null and the empty text are the zero time.
type moment struct{ time.Time }

// A fraction may follow the seconds of each.
var momentLayouts = [...]string{
	time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", "2006-01-02T15:04:05Z0700", "20060102T150405Z0700", "20060102T150405", time.DateOnly,
}

func (m *moment) UnmarshalJSON(b []byte) error {
	var text *string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf("a time is %s", excerpt(string(b)))
	}
	if text == nil || *text == "" {
		return nil
	}
	for _, layout := range momentLayouts {
		if t, err := time.Parse(layout, *text); err == nil {
			m.Time = t.UTC()
			return nil
		}
	}
	return fmt.Errorf("%q is no time", excerpt(*text))
}

// firstSecond returns the first whole second that is not before m. What holds from m on, or until m, holds for whole seconds
// just as it does from then on, or until then.
func (m moment) firstSecond() time.Time {
	if m.IsZero() {
		return time.Time{}
	}
	t := m.Truncate(time.Second)
	if t.Before(m.Time) {
		t = t.Add(time.Second)
	}
	return t
}

// text is what may be null.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil || s == nil {
		return err
	}
	*t = text(*s)
	return nil
}

// attribute returns the value of an attribute as Ratebook stores it; if it is no text, in its own spelling.
func attribute(raw json.RawMessage) (value string, literal bool, err error) {
	if len(raw) > 0 && raw[0] == '"' {
		err = json.Unmarshal(raw, &value)
		return value, false, err
	}
	var b bytes.Buffer
	err = json.Compact(&b, raw)
	return b.String(), true, err
}
