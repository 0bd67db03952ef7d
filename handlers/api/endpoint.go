// Package api holds what the packages of Ratebook's HTTP APIs share.
package api

import "ratebook/access"

// Endpoint is one operation of an API: what OpenAPI describes, and what a test holds against the routes.
type Endpoint struct {
	Method     string
	Paths      []string // below the API's own; each {name} is a parameter. The first is the one to use, the others do the same
	Parameters []Parameter
	Role       access.Role // the least that may ask
}

// Parameter is an argument of an endpoint.
type Parameter struct {
	Name     string
	In       string // path, query, header, or body: a member of the JSON object sent
	Required bool
	Many     bool // whether it may be repeated, or be a list with commas; v2 only
}
