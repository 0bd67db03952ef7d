// Package pages holds what stands on each page of the site, without what surrounds it (layout), and the view models that
// handlers fill in.
package pages
