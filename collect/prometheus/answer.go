package prometheus

import (
	"fmt"
	"unicode/utf8"

	"ratebook/money"
)

// envelope is what surrounds the data of every answer of the HTTP API.
type envelope struct {
	status    string // success or error
	errorType string
	message   string
	warnings  []string
	infos     []string
	partial   bool // VictoriaMetrics: some of its storage nodes did not answer
	hasData   bool
}

// readEnvelope reads a whole answer; data reads the value of its member "data", unless the status before it was not
// success. A nil error means well-formed, not successful. Errors of src come back as they are.
func readEnvelope(s *scanner, data func(*scanner) error) (*envelope, error) {
	var e envelope
	seen := make(map[string]bool, 4)
	err := s.object(func(name []byte) error {
		field := string(name)
		if seen[field] {
			return s.errorf("a second %q", field)
		}
		seen[field] = true
		var err error
		switch field {
		case "status":
			e.status, err = s.string()
		case "errorType":
			e.errorType, err = s.string()
		case "error":
			e.message, err = s.string()
		case "warnings":
			e.warnings, err = s.strings()
		case "infos":
			e.infos, err = s.strings()
		case "isPartial":
			var word string
			word, err = s.literal()
			e.partial = word == "true"
		case "data":
			if e.status != "" && e.status != "success" {
				return s.skip(0)
			}
			e.hasData = true
			err = data(s)
		default:
			err = s.skip(0)
		}
		return err
	})
	if err == nil {
		err = s.finish()
	}
	if err != nil {
		return nil, err
	}
	if e.status != "success" && e.status != "error" {
		return nil, s.errorf("a status that is neither success nor error")
	}
	if e.status == "success" && !e.hasData {
		return nil, s.errorf("success without data")
	}
	return &e, nil
}

func (s *scanner) string() (string, error) {
	t, err := s.text()
	return string(t), err
}

// strings reads an array of strings, or null.
func (s *scanner) strings() (all []string, err error) {
	if c, err := s.peek(); err == nil && c == 'n' {
		_, err = s.literal()
		return nil, err
	}
	err = s.array(func() error {
		t, err := s.string()
		all = append(all, t)
		return err
	})
	return all, err
}

// sink takes the items of a query's result, one after the other. Slices passed to it are only valid during the call.
type sink interface {
	label(name, value []byte) error     // of the item at hand
	sample(at int64, text []byte) error // its value at a time in Unix seconds, as the server wrote it
	histogram(at int64) error           // it has a histogram there
	end() error                         // the item is complete
}

// The kinds of results that queries are asked for.
const (
	matrix = "matrix" // of range queries
	vector = "vector" // of instant queries
)

// contentError says that an answer is well-formed but not to the question. Its text names what is wrong, after "the
// answer contains".
type contentError struct{ what string }

func (e *contentError) Error() string { return e.what }

func contentErrorf(format string, args ...any) error {
	return &contentError{fmt.Sprintf(format, args...)}
}

// readResult returns a reader of a query's data, whose result must be of the given type, into the sink.
func readResult(resultType string, to sink) func(*scanner) error {
	return func(s *scanner) error {
		var typed, filled bool
		err := s.object(func(name []byte) error {
			switch string(name) {
			case "resultType":
				if typed {
					return s.errorf("a second resultType")
				}
				typed = true
				t, err := s.text()
				if err == nil && string(t) != resultType {
					err = s.errorf("a %q instead of a %s", t, resultType)
				}
				return err
			case "result":
				if filled {
					return s.errorf("a second result")
				}
				filled = true
				return s.array(func() error { return readItem(s, resultType, to) })
			}
			return s.skip(0)
		})
		if err == nil && !(typed && filled) {
			err = s.errorf("data without a result")
		}
		return err
	}
}

// readItem reads one series of a result.
func readItem(s *scanner, resultType string, to sink) error {
	var labelled, valued, histogrammed bool
	// member checks a member that must come once, and in results of one type if that is not empty
	member := func(seen *bool, only string) error {
		if *seen {
			return s.errorf("a member of a series twice")
		}
		*seen = true
		if only != "" && only != resultType {
			return s.errorf("a member of a %s in a %s", only, resultType)
		}
		return nil
	}
	err := s.object(func(name []byte) error {
		switch string(name) {
		case "metric":
			if err := member(&labelled, ""); err != nil {
				return err
			}
			return readLabels(s, to)
		case "values":
			if err := member(&valued, matrix); err != nil {
				return err
			}
			return readSamples(s, to)
		case "value":
			if err := member(&valued, vector); err != nil {
				return err
			}
			return readSample(s, to)
		case "histograms":
			if err := member(&histogrammed, matrix); err != nil {
				return err
			}
			return s.array(func() error { return readHistogram(s, to) })
		case "histogram":
			if err := member(&histogrammed, vector); err != nil {
				return err
			}
			return readHistogram(s, to)
		}
		return s.skip(0)
	})
	if err != nil {
		return err
	}
	if !labelled || !(valued || histogrammed) {
		return s.errorf("a series without labels or values")
	}
	return to.end()
}

func readLabels(s *scanner, to sink) error {
	return s.object(func(name []byte) error {
		value, err := s.text()
		if err != nil {
			return err
		}
		return to.label(name, value)
	})
}

// readSamples reads an array of samples: nearly all bytes of a large answer.
func readSamples(s *scanner, to sink) error {
	return s.array(func() error {
		at, text, size := plainSample(s.buf[s.pos:s.end])
		if size == 0 {
			return readSample(s, to)
		}
		s.pos += size
		return to.sample(at, text)
	})
}

// plainSample reads a [time, "value"] as servers write it, with no more ado than needed: no white space, whole seconds,
// nothing but printable ASCII in the value and all of it in the buffer. For any other size is 0, and readSample's.
func plainSample(b []byte) (at int64, text []byte, size int) {
	const longest = 18 // digits of a time
	if len(b) == 0 || b[0] != '[' {
		return 0, nil, 0
	}
	i := 1
	for ; i < len(b) && b[i]-'0' <= 9; i++ {
		at = at*10 + int64(b[i]-'0')
	}
	if i == 1 || i > longest || b[1] == '0' || len(b)-i < 2 || b[i] != ',' || b[i+1] != '"' {
		return 0, nil, 0
	}
	from := i + 2
	for i, c := range b[from:] {
		if c == '"' {
			if to := from + i; to+1 < len(b) && b[to+1] == ']' {
				return at, b[from:to], to + 2
			}
			break
		}
		if c == '\\' || c < ' ' || c >= utf8.RuneSelf {
			break
		}
	}
	return 0, nil, 0
}

// readSample reads one [time, "value"].
func readSample(s *scanner, to sink) error {
	at, err := readTime(s)
	if err != nil {
		return err
	}
	text, err := s.text()
	if err != nil {
		return err
	}
	if err := to.sample(at, text); err != nil {
		return err
	}
	return s.expect(']')
}

// readHistogram reads one [time, {...}].
func readHistogram(s *scanner, to sink) error {
	at, err := readTime(s)
	if err != nil {
		return err
	}
	if err := s.skip(0); err != nil {
		return err
	}
	if err := to.histogram(at); err != nil {
		return err
	}
	return s.expect(']')
}

// readTime reads the beginning of a pair: the time, which must be whole seconds as all times asked for are.
func readTime(s *scanner) (int64, error) {
	if err := s.expect('['); err != nil {
		return 0, err
	}
	t, err := s.number()
	if err != nil {
		return 0, err
	}
	at, ok := wholeSeconds(t)
	if !ok {
		return 0, contentErrorf("the time %.40s, which is not on the grid", t)
	}
	return at, s.expect(',')
}

// wholeSeconds returns the number of seconds that t says, exactly; ok is false if it has a fraction or is out of range.
func wholeSeconds(t []byte) (n int64, ok bool) {
	if len(t) <= 18 {
		for _, c := range t {
			if c < '0' || c > '9' {
				return slowSeconds(t)
			}
			n = n*10 + int64(c-'0')
		}
		return n, true
	}
	return slowSeconds(t)
}

// slowSeconds does it for a time with a sign, a point or an exponent.
func slowSeconds(t []byte) (n int64, ok bool) {
	d, err := money.ParseBytes(t)
	if err != nil {
		return 0, false
	}
	return d.Parts(0)
}

// readStrings returns a reader of data that is a list of strings.
func readStrings(into *[]string) func(*scanner) error {
	return func(s *scanner) (err error) {
		return s.array(func() error {
			t, err := s.string()
			*into = append(*into, t)
			return err
		})
	}
}
