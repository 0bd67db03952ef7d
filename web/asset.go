package web

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"

	"ratebook/static"
	"ratebook/views/link"
)

// assets answers with static files, compressed at most once each.
type assets struct{ compressed sync.Map } // path to []byte; only paths that exist get in

func (a *assets) get(c echo.Context) error {
	path := c.Request().URL.Path
	content, mediaType, ok := static.Open(path)
	if !ok {
		return echo.ErrNotFound
	}
	h := c.Response().Header()
	h.Set(echo.HeaderCacheControl, "public, max-age=31536000, immutable") // the path says what is in it
	h.Set(echo.HeaderVary, echo.HeaderAcceptEncoding)
	if strings.Contains(c.Request().Header.Get(echo.HeaderAcceptEncoding), "gzip") {
		small, err := a.compress(path, content)
		if err != nil {
			return err
		}
		if len(small) < len(content) {
			content = small
			h.Set(echo.HeaderContentEncoding, "gzip")
		}
	}
	h.Set(echo.HeaderContentLength, strconv.Itoa(len(content)))
	return c.Blob(http.StatusOK, mediaType, content)
}

func (a *assets) compress(path string, content []byte) ([]byte, error) {
	if known, ok := a.compressed.Load(path); ok {
		return known.([]byte), nil
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	a.compressed.Store(path, b.Bytes())
	return b.Bytes(), nil
}

// favicon leads those who ask where icons used to be to ours.
func favicon(c echo.Context) error {
	c.Response().Header().Set(echo.HeaderCacheControl, "public, max-age=3600")
	return c.Redirect(http.StatusFound, string(link.Static(c.Request().Context(), "img/icon.svg")))
}

// robots asks search engines to stay away.
func robots(c echo.Context) error {
	c.Response().Header().Set(echo.HeaderCacheControl, "public, max-age=3600")
	return c.String(http.StatusOK, "User-agent: *\nDisallow: /\n")
}
