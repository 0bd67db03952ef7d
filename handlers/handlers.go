// Package handlers answers what browsers ask: one struct per area of the site, one file per action. A handler parses, authorises,
// calls and renders; what it needs of the store is a small interface beside it, and errors it returns are answered by web.
package handlers
