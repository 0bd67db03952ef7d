// Package views is the root of what people see. Its packages are functions of their arguments:
//
//	layout      what surrounds every page
//	components  what pages are made of
//	pages       the pages, with the view models that handlers fill
//	format      amounts, quantities and times as people read them
//	link        addresses
//	gallery     every component in every state
//
// Templates are .templ files; the Go that is made of them is committed, so that nothing but Go is needed to build.
package views

//go:generate go tool templ generate -path . -log-level error
