// Package migrations holds the schema of both databases as goose migrations: the same numbers and the same names in
// postgres/ and sqlite/, embedded in the binary.
package migrations

import "embed"

// FS holds the folders postgres and sqlite.
//
//go:embed postgres/*.sql sqlite/*.sql
var FS embed.FS
