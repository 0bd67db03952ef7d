// Package link makes the addresses that pages point to: below the path of --base-url, and, for static files, with a hash
// of their content.
package link

import (
	"context"
	"net/url"

	"github.com/a-h/templ"

	"ratebook/static"
)

type baseKey struct{}

// WithBase returns a context for rendering pages that live below base, a path such as /ratebook, or empty.
func WithBase(ctx context.Context, base string) context.Context {
	return context.WithValue(ctx, baseKey{}, base)
}

// Base returns the path below which all pages live; empty is the root.
func Base(ctx context.Context) string {
	base, _ := ctx.Value(baseKey{}).(string)
	return base
}

// To returns the address of a path of ours, such as /costs?group=scope.
func To(ctx context.Context, path string) templ.SafeURL {
	return templ.SafeURL(Base(ctx) + path) //nolint:gosec // paths are made by us; what users typed is in the escaped query
}

// Query returns the address of a path of ours with a query; empty, it is left out.
func Query(ctx context.Context, path string, query url.Values) templ.SafeURL {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return To(ctx, path)
}

// Static returns the address of a file in static/.
func Static(ctx context.Context, name string) templ.SafeURL {
	return To(ctx, static.Path(name))
}
