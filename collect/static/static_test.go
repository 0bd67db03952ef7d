package static_test

import (
	"reflect"
	"testing"

	"ratebook/collect/static"
	"ratebook/metering"
	"ratebook/period"
)

func TestScopes(t *testing.T) {
	ids := []string{"b", "a", "", "b"}
	f := static.New(ids)
	ids[0] = "z"
	got, err := f.Scopes(t.Context(), period.Range{})
	if want := []metering.Found{{ID: "a"}, {ID: "b"}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}
