// Package access is the domain of who may do what: users, their roles and their passwords. It is pure.
package access

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"ratebook/fault"
)

// Role says what a user may do.
type Role string

const (
	Admin    Role = "admin"    // everything
	Operator Role = "operator" // everything but users and settings
	Viewer   Role = "viewer"   // reads everything
	Tenant   Role = "tenant"   // reads its own scopes
)

// Roles lists the roles, the mightiest first.
var Roles = []Role{Admin, Operator, Viewer, Tenant}

// ParseRole reads a role's name.
func ParseRole(s string) (Role, error) {
	for _, r := range Roles {
		if s == string(r) {
			return r, nil
		}
	}
	return "", fault.New(fault.Invalid, "there is no role %q; roles are admin, operator, viewer and tenant", s)
}

// User is someone who may sign in.
type User struct {
	Login        string
	Role         Role
	PasswordHash string // of HashPassword
	Created      time.Time
	Disabled     time.Time // zero while the user may sign in
	Credentials  int64     // grows when the password changes or the user is disabled: older sessions end
	Scopes       []string  // of a tenant: the ids of the scopes it may read
}

// ReadsAll reports whether the user may read every scope.
func (u *User) ReadsAll() bool { return u.May(Viewer) }

// May reports whether the user may do what a role may.
func (u *User) May(r Role) bool {
	return slices.Index(Roles, u.Role) <= slices.Index(Roles, r) && slices.Contains(Roles, u.Role)
}

var loginPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$`)

// CheckLogin says whether s can be a login: letters, digits and . _ @ + -, at most 64, beginning with a letter or digit.
func CheckLogin(s string) error {
	if !loginPattern.MatchString(s) {
		return fault.New(fault.Invalid, "%q can't be a login; use up to 64 letters, digits and . _ @ + -, beginning with a letter or digit", s)
	}
	return nil
}

// A password's length in characters: long enough to resist guessing, short enough not to keep us hashing.
const (
	minPassword = 10
	maxPassword = 1024
)

// argon2id's cost, as RFC 9106 recommends where memory is scarce: 64 MiB and three passes.
const (
	hashTime    = 3
	hashMemory  = 64 * 1024 // KiB
	hashThreads = 4
	hashLength  = 32
	saltLength  = 16
)

// HashPassword returns an argon2id hash of the password with its salt and cost, in the usual $argon2id$ form.
func HashPassword(password string) (string, error) {
	if n := utf8.RuneCountInString(password); n < minPassword || n > maxPassword {
		return "", fault.New(fault.Invalid, "a password must have %d to %d characters", minPassword, maxPassword)
	}
	salt := make([]byte, saltLength)
	rand.Read(salt)
	return encodeHash(salt, argon2.IDKey([]byte(password), salt, hashTime, hashMemory, hashThreads, hashLength)), nil
}

func encodeHash(salt, key []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashTime, hashThreads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
}

// PasswordMatches reports whether the password has the hash. It takes the same time whether or not it does.
func PasswordMatches(hash, password string) bool {
	var version int
	var memory, passes uint32
	var threads uint8
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[1] != "argon2id" || utf8.RuneCountInString(password) > maxPassword {
		return false
	}
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return false
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &passes, &threads); err != nil || passes == 0 || threads == 0 {
		return false
	}
	salt, errSalt := base64.RawStdEncoding.DecodeString(parts[4])
	key, errKey := base64.RawStdEncoding.DecodeString(parts[5])
	if errSalt != nil || errKey != nil || len(key) == 0 {
		return false
	}
	return subtle.ConstantTimeCompare(key, argon2.IDKey([]byte(password), salt, passes, memory, threads, uint32(len(key)))) == 1
}
