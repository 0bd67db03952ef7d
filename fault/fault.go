// Package fault is the vocabulary of errors that reach a person: what kind it is, one sentence for the reader, and, for
// input, what is wrong with which field. Everything else in an error chain is for the log.
package fault

import (
	"errors"
	"fmt"
	"strings"
)

// Kind says what went wrong in terms a caller can act on. Exit statuses and HTTP statuses are derived from it.
type Kind uint8

const (
	Internal        Kind = iota // a mistake of ours or of the machine; the message is not for strangers
	Invalid                     // the input is wrong; Fields may say where
	NotFound                    // what was asked for does not exist
	Conflict                    // it clashes with what exists already
	Forbidden                   // the caller may not
	Unauthenticated             // the caller is unknown
	Unavailable                 // something we depend on does not answer; trying again may help
)

// Error is an error with a message for the person who reads it: what happened, to what, what to do next.
type Error struct {
	Kind    Kind
	Message string  // one sentence, without the cause
	Fields  []Field // for Invalid
	Err     error   // the cause, for the log
}

// Field is one thing wrong with one field of an input.
type Field struct {
	Name    string // the field as the user knows it: a form field, a key path in a file with its line
	Message string
}

// New returns an error of the given kind; the message is formatted as by fmt.Sprintf.
func New(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Wrap is New with a cause.
func Wrap(kind Kind, err error, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...), Err: err}
}

// Error returns the message, the fields and the cause.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	for _, f := range e.Fields {
		b.WriteString("\n  " + f.Name + ": " + f.Message)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the outermost Error in err's chain, or Internal.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}
