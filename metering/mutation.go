package metering

import (
	"fmt"
	"slices"
	"strings"
)

var mutations = [...]string{None: "NONE", NumBool: "NUMBOOL", NotNumBool: "NOTNUMBOOL", Floor: "FLOOR", Ceil: "CEIL", Map: "MAP"}

// String returns CloudKitty's word for the mutation.
func (m Mutation) String() string { return mutations[m] }

// ParseMutation reads the word that String returns.
func ParseMutation(s string) (Mutation, error) {
	i := slices.Index(mutations[:], s)
	if i < 0 {
		return None, fmt.Errorf("%q is no mutation; use one of %s", clip(s), strings.Join(mutations[:], ", "))
	}
	return Mutation(i), nil
}

// MarshalText writes the mutation as String does.
func (m Mutation) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads the mutation as ParseMutation does.
func (m *Mutation) UnmarshalText(b []byte) (err error) {
	*m, err = ParseMutation(string(b))
	return err
}
