package rating

import (
	"strconv"
	"strings"
	"time"
	"unicode"

	"ratebook/metering"
)

// Look is an attribute that rules look at, and what they see.
type Look struct {
	Name, Value string
	Missing     bool // the point has no such attribute
}

// Looked returns the attributes that rules of the series' metric look at, by name, with what a point of the series has in a
// window that begins at begin. Of a point that has no price they are what no rule matched. It is the same as long as the
// series' plan holds.
func (e *Engine) Looked(s *metering.Series, begin time.Time) (all []Look) {
	for _, m := range e.chain {
		all = append(all, m.looked(s, begin)...)
	}
	return all
}

func (noop) looked(*metering.Series, time.Time) []Look { return nil }

func (h *hashmap) looked(s *metering.Series, begin time.Time) []Look {
	rules := h.services[s.Metric.Name]
	if rules == nil {
		return nil
	}
	all := make([]Look, len(rules.fields))
	for i, f := range rules.fields {
		value, ok := h.attribute(&Plan{}, s, f.name, begin)
		all[i] = Look{Name: f.name, Value: value, Missing: !ok}
	}
	return all
}

// LookText writes looks for people and for [ParseLooks], such as "flavor = m9.huge, region is missing". Texts that could be
// taken for something else are quoted as in Go.
func LookText(all []Look) string {
	var b strings.Builder
	for i, l := range all {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(lookWord(l.Name, isName))
		if l.Missing {
			b.WriteString(" is missing")
		} else {
			b.WriteString(" = ")
			b.WriteString(lookWord(l.Value, isValue))
		}
	}
	return b.String()
}

// cutMark ends a text that was cut short.
const cutMark = "…"

func isName(r rune) bool { return r != ' ' && isValue(r) }

func isValue(r rune) bool { return unicode.IsPrint(r) && !strings.ContainsRune(`",=`+cutMark, r) }

func lookWord(s string, plain func(rune) bool) string {
	if s == "" || strings.TrimSpace(s) != s || strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) || !isText(s) {
		return strconv.Quote(s)
	}
	return s
}

// isText reports whether s is UTF-8.
func isText(s string) bool { return strings.ToValidUTF8(s, "") == s }

// ParseLooks reads what [LookText] writes, as far as it is that. Where the text was cut short the last look has no value.
func ParseLooks(text string) (all []Look) {
	for {
		var l Look
		var ok bool
		if l.Name, text, ok = cutLook(text, " "); !ok {
			return all
		}
		if rest, found := strings.CutPrefix(text, " is missing"); found {
			l.Missing, text = true, rest
		} else if text, found = strings.CutPrefix(text, " = "); !found {
			return all
		} else if l.Value, text, ok = cutLook(text, ","); !ok {
			return append(all, l)
		}
		all = append(all, l)
		if text, ok = strings.CutPrefix(text, ", "); !ok {
			return all
		}
	}
}

// cutLook cuts a word off text: a quoted one, or what is before end. It is false if the word was cut short.
func cutLook(text, end string) (word, rest string, ok bool) {
	if strings.HasPrefix(text, `"`) {
		quoted, err := strconv.QuotedPrefix(text)
		if err != nil {
			return "", "", false
		}
		word, err = strconv.Unquote(quoted)
		return word, text[len(quoted):], err == nil
	}
	if i := strings.Index(text, end); i >= 0 {
		word, rest = text[:i], text[i:]
	} else {
		word = text
	}
	if word == "" || strings.Contains(word, cutMark) {
		return "", "", false
	}
	return word, rest, true
}
