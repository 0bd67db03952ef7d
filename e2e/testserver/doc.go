// Package testserver runs real servers for tests: PostgreSQL, Prometheus and Keystone, from the machine's own packages, on free
// loopback ports. Where a package is missing the test is skipped and names it; with CI=true it fails instead.
package testserver
