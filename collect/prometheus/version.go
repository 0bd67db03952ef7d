package prometheus

import (
	"context"
	"time"
)

// versionAge is how long a server's version is believed.
const versionAge = 10 * time.Minute

// versionTimeout bounds the question for it, which is not worth waiting for.
const versionTimeout = 10 * time.Second

// Version returns the server's software and version, such as "prometheus 2.42.0", as it answers itself; it matters
// because servers differ in whether a sample on the edge of two windows counts in both. It is empty if the server doesn't
// say, as compatible ones may not.
func (c *Client) Version(ctx context.Context) string {
	c.mu.Lock()
	version, age := c.version, time.Since(c.versionAt)
	c.mu.Unlock()
	if version != "" && age < versionAge {
		return version
	}

	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	software, number := "prometheus", ""
	_, err := c.get(ctx, "its version", "/status/buildinfo", nil, func(s *scanner) error {
		return s.object(func(name []byte) (err error) {
			switch string(name) {
			case "application": // Mimir and its kin
				software, err = s.string()
			case "version":
				number, err = s.string()
			default:
				err = s.skip(0)
			}
			return err
		})
	})
	if err != nil || number == "" {
		return ""
	}
	version = excerpt(software + " " + number)
	c.mu.Lock()
	c.version, c.versionAt = version, time.Now()
	c.mu.Unlock()
	return version
}
