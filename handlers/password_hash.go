package handlers

import (
	"context"

	"ratebook/access"
)

// hashing bounds how many passwords are hashed at once in this process, since each takes 64 MiB.
var hashing = make(chan struct{}, 2)

// nobodysHash costs as much to compare with as that of a user, and is that of no password.
const nobodysHash = "$argon2id$v=19$m=65536,t=3,p=4$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// passwordMatches is access.PasswordMatches in its turn; the error is that ctx ended first.
func passwordMatches(ctx context.Context, hash, password string) (bool, error) {
	select {
	case hashing <- struct{}{}:
		defer func() { <-hashing }()
		return access.PasswordMatches(hash, password), nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// hashPassword is access.HashPassword in its turn.
func hashPassword(ctx context.Context, password string) (string, error) {
	select {
	case hashing <- struct{}{}:
		defer func() { <-hashing }()
		return access.HashPassword(password)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
