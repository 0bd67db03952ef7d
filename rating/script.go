package rating

import (
	"crypto/sha512"
	"encoding/hex"
	"time"
)

// Script is a program in Starlark that prices the data points of a scope's window: CloudKitty's PyScripts. It may be stored
// although it does not compile; such a script never runs.
type Script struct {
	ID          string    // a UUID
	Name        string    // unique among scripts
	Data        string    // its text
	Start       time.Time // zero: since the beginning of time
	End         time.Time // zero: for ever; the script runs for windows with Start <= begin < End
	Description string
}

// Checksum returns the SHA-512 of the script's text in hexadecimal digits, as CloudKitty has it.
func (s *Script) Checksum() string {
	sum := sha512.Sum512([]byte(s.Data))
	return hex.EncodeToString(sum[:])
}
