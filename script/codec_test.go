package script

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ratebook/money"
)

var sameFrame = cmp.Options{same, cmp.Comparer(slices.Equal[[]Attribute])}

func TestProtocol(t *testing.T) {
	f := some()
	f.Points[0].Metadata = []Attribute{{"bytes", "\x00\xff"}, {"empty", ""}}
	f.Points[1].Price = money.MustParse("-0.000000000000000000000000000000000000000000000000001")
	q, err := decodeRequest((&request{[]Source{{"a", "x = 1"}, {"", ""}}, f}).encode()[4:])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f, q.frame, sameFrame); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Source{{"a", "x = 1"}, {"", ""}}, q.scripts); diff != "" {
		t.Error(diff)
	}
	for _, err := range []error{
		&Error{Script: "s", Line: 7, Message: "no", Stopped: true}, &Error{Message: "x"}, nil,
	} {
		left, got := decodeAnswer(encodeAnswer(f, err)[4:])
		if err == nil {
			if diff := cmp.Diff(f, left, sameFrame); diff != "" || got != nil {
				t.Error(diff, got)
			}
			continue
		}
		if diff := cmp.Diff(err, got); diff != "" || left != nil {
			t.Error(diff)
		}
	}
	if _, err := decodeAnswer(encodeAnswer(nil, errors.New("other"))[4:]); err == nil || err.Error() != "other" {
		t.Errorf("error %v", err)
	}
}

// TestServe asks over a connection, several times.
func TestServe(t *testing.T) {
	ours, theirs := net.Pipe()
	done := make(chan error)
	go func() { done <- (&Interpreter{Timeout: time.Minute}).Serve(context.Background(), theirs, theirs) }()
	for range 3 {
		f, err := Ask(ours, ours, []Source{{"s", "data['usage'].pop('cpu')"}, {"t", "data['usage']['disk'][0]['rating']['price'] = 1"}}, some())
		if err != nil || len(f.Points) != 1 || f.Points[0].Price.String() != "1" {
			t.Fatal(f, err)
		}
		_, err = Ask(ours, ours, []Source{{"s", ""}, {"t", "\nx"}}, some())
		if err == nil || err.Error() != "script t, line 2: undefined: x" {
			t.Fatal(err)
		}
	}
	ours.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestDamagedMessages(t *testing.T) {
	for _, c := range []struct {
		message string
		want    error
	}{
		{"", io.EOF}, {"\x00\x00", io.ErrUnexpectedEOF}, {"\x00\x00\x00\x05abc", io.ErrUnexpectedEOF}, {"\xff\xff\xff\xff", errDamaged},
	} {
		if _, err := receive(strings.NewReader(c.message)); !errors.Is(err, c.want) {
			t.Errorf("%q: error %v, want %v", c.message, err, c.want)
		}
	}
	if err := new(Interpreter).Serve(context.Background(), strings.NewReader("\x00\x00\x00\x01\x09"), io.Discard); !errors.Is(err, errDamaged) {
		t.Errorf("error %v", err)
	}
	whole := (&request{[]Source{{"a", "b"}}, some()}).encode()[4:]
	for i := range whole {
		if _, err := decodeRequest(whole[:i]); err == nil {
			t.Errorf("the first %d bytes are a request", i)
		}
	}
	if _, err := decodeRequest(append(bytes.Clone(whole), 0)); err == nil {
		t.Error("a request with more is a request")
	}
}

// FuzzProtocol: whatever is read is refused, or is what would be written.
func FuzzProtocol(f *testing.F) {
	f.Add((&request{[]Source{{"a", "b"}}, some()}).encode()[4:])
	f.Add(encodeAnswer(some(), nil)[4:])
	f.Add(encodeAnswer(nil, &Error{Script: "s", Line: 3, Message: "m", Stopped: true})[4:])
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, err := decodeRequest(b); err == nil {
			again, err := decodeRequest(q.encode()[4:])
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(q.scripts, again.scripts); diff != "" || !cmp.Equal(q.frame, again.frame, sameFrame) {
				t.Error(diff, cmp.Diff(q.frame, again.frame, sameFrame))
			}
		}
		frame, err := decodeAnswer(b)
		if frame == nil && err == nil {
			t.Error("neither a frame nor an error")
		}
	})
}
