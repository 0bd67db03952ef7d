package fault

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestKindOf(t *testing.T) {
	conflict := New(Conflict, "the scope %q exists", "a")
	for _, c := range []struct {
		name string
		err  error
		want Kind
	}{
		{"nil", nil, Internal},
		{"foreign", io.EOF, Internal},
		{"plain", conflict, Conflict},
		{"wrapped by fmt", fmt.Errorf("saving: %w", fmt.Errorf("again: %w", conflict)), Conflict},
		{"joined", errors.Join(io.EOF, conflict), Conflict},
		{"outermost of two", Wrap(Unavailable, conflict, "no answer"), Unavailable},
		{"outermost of two, wrapped", fmt.Errorf("x: %w", Wrap(NotFound, fmt.Errorf("y: %w", conflict), "gone")), NotFound},
	} {
		if got := KindOf(c.err); got != c.want {
			t.Errorf("%s: kind %d, want %d", c.name, got, c.want)
		}
	}
}

func TestError(t *testing.T) {
	e := Wrap(Invalid, io.ErrUnexpectedEOF, "can't read %s", "metrics.yml")
	e.Fields = []Field{{"metrics.yml:3: metrics.cpu.unit", "is missing"}, {"metrics.yml:9: metrics.ram", "is no metric"}}
	want := "can't read metrics.yml\n  metrics.yml:3: metrics.cpu.unit: is missing\n  metrics.yml:9: metrics.ram: is no metric: unexpected EOF"
	if e.Error() != want {
		t.Errorf("got %q", e.Error())
	}
	if !errors.Is(e, io.ErrUnexpectedEOF) {
		t.Error("the cause is lost")
	}
	if s := New(NotFound, "no such scope").Error(); s != "no such scope" {
		t.Errorf("got %q", s)
	}
}
