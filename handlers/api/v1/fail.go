package v1

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"ratebook/fault"
)

// failure is an error as CloudKitty writes it.
type failure struct {
	Code  string  `json:"faultcode"` // whose fault it is: Client, Server
	Text  string  `json:"faultstring"`
	Debug *string `json:"debuginfo"` // always null
}

// statuses are those of the kinds of faults.
var statuses = map[fault.Kind]int{
	fault.Internal: http.StatusInternalServerError, fault.Invalid: http.StatusBadRequest, fault.NotFound: http.StatusNotFound,
	fault.Conflict: http.StatusConflict, fault.Forbidden: http.StatusForbidden, fault.Unauthenticated: http.StatusUnauthorized,
	fault.Unavailable: http.StatusServiceUnavailable,
}

// fail answers with an error.
func fail(c echo.Context, err error) error {
	status, text := http.StatusInternalServerError, ""
	if f, ok := errors.AsType[*fault.Error](err); ok {
		if status = statuses[f.Kind]; f.Kind != fault.Internal {
			text = f.Message
			for _, field := range f.Fields {
				text += fmt.Sprintf(" %s: %s.", field.Name, strings.TrimSuffix(field.Message, "."))
			}
		}
	} else if h, ok := errors.AsType[*echo.HTTPError](err); ok {
		if status = h.Code; status == http.StatusUnsupportedMediaType {
			text = fmt.Sprint(h.Message)
		}
	} else if errors.Is(err, context.DeadlineExceeded) {
		status, text = http.StatusServiceUnavailable, "This took too long and was given up. Ask for less, or try again later."
	} else if _, ok := errors.AsType[net.Error](err); ok { // mostly the database's
		status = http.StatusServiceUnavailable
	}
	switch {
	case status == http.StatusMethodNotAllowed:
		return page(c, status, "The method "+c.Request().Method+" is not allowed for this resource.")
	case status == http.StatusForbidden && configures(c):
		return page(c, status, "Access was denied to this resource.")
	}
	if text == "" {
		text = http.StatusText(status)
	}
	answer := failure{Code: "Client", Text: text}
	if status >= http.StatusInternalServerError {
		answer.Code = "Server"
	}
	return c.JSON(status, answer)
}

// configures reports whether a request is about the configuration of a module, where CloudKitty refuses with a page.
func configures(c echo.Context) bool {
	segments, ok := split(c.Request().URL)
	return ok && len(segments) > 1 && segments[0] == "rating" && segments[1] == "module_config"
}

// page answers with a page, as CloudKitty does where the request got nowhere.
func page(c echo.Context, status int, text string) error {
	title := fmt.Sprintf("%d %s", status, http.StatusText(status))
	return c.HTML(status, "<html>\n <head>\n  <title>"+title+"</title>\n </head>\n <body>\n  <h1>"+title+"</h1>\n  "+
		html.EscapeString(text)+"\n </body>\n</html>\n")
}
