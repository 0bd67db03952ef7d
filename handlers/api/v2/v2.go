// Package v2 answers CloudKitty's v2 HTTP API: summaries, data frames, scopes, reprocessing and rating modules, in its words,
// statuses and errors. What the reference calls a quirk is kept only where clients rely on it.
package v2

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/handlers/api"
	"ratebook/metering"
	"ratebook/web"
)

// Deps is what the API needs.
type Deps struct {
	Reports  Reports
	Frames   Frames
	Scopes   Scopes
	Tasks    Tasks
	Rules    Rules
	Pricer   Pricer // of pushed points that are to be rated; nil: they are refused
	Settings *metering.Settings
	Now      func() time.Time
}

type handler struct{ Deps }

// New returns the API.
func New(d Deps) web.API {
	h := &handler{d}
	return web.API{
		Version: "v2",
		Status:  "EXPERIMENTAL",
		Routes:  h.routes,
		Bare:    func(echo.Context) error { return echo.ErrNotFound },
		Fail:    fail,
	}
}

// route is an endpoint and what answers it.
type route struct {
	api.Endpoint
	answer func(h *handler, c echo.Context) error
}

// Endpoints lists what the API answers.
func Endpoints() []api.Endpoint {
	all := make([]api.Endpoint, 0, len(routes))
	for i := range routes {
		all = append(all, routes[i].Endpoint)
	}
	return all
}

func query(names ...string) []api.Parameter { return parameters("query", names) }

func body(names ...string) []api.Parameter { return parameters("body", names) }

// parameters reads their names: a ! after one says that it is required, a * that there may be many.
func parameters(in string, names []string) []api.Parameter {
	all := make([]api.Parameter, 0, len(names))
	for _, n := range names {
		all = append(all, api.Parameter{Name: strings.TrimRight(n, "!*"), In: in, Required: strings.Contains(n, "!"), Many: strings.Contains(n, "*")})
	}
	return all
}

func inPath(name string) api.Parameter { return api.Parameter{Name: name, In: "path", Required: true} }

var routes = []route{
	{api.Endpoint{
		Method: http.MethodGet, Paths: []string{"/summary"}, Role: access.Tenant,
		Parameters: query("begin", "end", "groupby*", "filters*", "custom_fields", "response_format", "offset", "limit"),
	}, (*handler).summary},
	{api.Endpoint{
		Method: http.MethodGet, Paths: []string{"/dataframes"}, Role: access.Tenant,
		Parameters: query("begin", "end", "filters*", "offset", "limit"),
	}, (*handler).frames},
	{api.Endpoint{
		Method: http.MethodPost, Paths: []string{"/dataframes"}, Role: access.Operator,
		Parameters: slices.Concat(query("rate"), parameters("header", []string{"Idempotency-Key"}), body("dataframes!*")),
	}, (*handler).push},
	{api.Endpoint{
		Method: http.MethodGet, Paths: []string{"/scope"}, Role: access.Viewer,
		Parameters: query("scope_id*", "scope_key*", "fetcher*", "collector*", "active", "offset", "limit"),
	}, (*handler).scopes},
	{api.Endpoint{
		Method: http.MethodPut, Paths: []string{"/scope"}, Role: access.Operator,
		Parameters: body("all_scopes", "scope_id*", "scope_key*", "fetcher*", "collector*", "last_processed_timestamp", "state"),
	}, (*handler).resetScopes},
	{api.Endpoint{
		Method: http.MethodPatch, Paths: []string{"/scope"}, Role: access.Operator,
		Parameters: body("scope_id!", "scope_key", "fetcher", "collector", "active"),
	}, (*handler).changeScope},
	{api.Endpoint{
		Method: http.MethodPost, Paths: []string{"/scope"}, Role: access.Operator,
		Parameters: body("scope_id!", "last_processed_timestamp!", "scope_key", "fetcher", "collector", "active"),
	}, (*handler).addScope},
	{api.Endpoint{
		Method: http.MethodPost, Role: access.Operator,
		Paths:      []string{"/task/reprocesses", "/task/reprocess"}, // python-cloudkittyclient sends it to the second
		Parameters: body("scope_ids!*", "start_reprocess_time!", "end_reprocess_time!", "reason!"),
	}, (*handler).reprocess},
	{api.Endpoint{
		Method: http.MethodGet, Paths: []string{"/task/reprocesses"}, Role: access.Viewer,
		Parameters: query("scope_ids*", "order", "offset", "limit"),
	}, (*handler).reprocesses},
	{api.Endpoint{
		Method: http.MethodGet, Paths: []string{"/task/reprocesses/{scope_id}"}, Role: access.Viewer,
		Parameters: slices.Concat([]api.Parameter{inPath("scope_id")}, query("scope_ids*", "order", "offset", "limit")),
	}, (*handler).reprocesses},
	{api.Endpoint{Method: http.MethodGet, Paths: []string{"/rating/modules"}, Role: access.Viewer}, (*handler).modules},
	{api.Endpoint{
		Method: http.MethodGet, Paths: []string{"/rating/modules/{module_id}"}, Role: access.Viewer,
		Parameters: []api.Parameter{inPath("module_id")},
	}, (*handler).module},
	{api.Endpoint{
		Method: http.MethodPut, Paths: []string{"/rating/modules/{module_id}"}, Role: access.Operator,
		Parameters: slices.Concat([]api.Parameter{inPath("module_id")}, body("enabled", "priority")),
	}, (*handler).changeModule},
}

var methods = []string{http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodPatch, http.MethodPost, http.MethodPut}

// routes registers the endpoints, and for every other method of their paths an answer that says which there are.
func (h *handler) routes(g *echo.Group) {
	allowed := map[string][]string{} // methods by path
	for _, r := range routes {
		answer := func(c echo.Context) error {
			if !web.Caller(c).May(r.Role) {
				return exact(fault.Forbidden, "You are not authorized to perform this action")
			}
			return r.answer(h, c)
		}
		for _, path := range r.Paths {
			path = strings.NewReplacer("{", ":", "}", "").Replace(path) // as echo has it
			g.Add(r.Method, path, answer)
			allowed[path] = append(allowed[path], r.Method)
			if r.Method == http.MethodGet {
				g.HEAD(path, answer)
				allowed[path] = append(allowed[path], http.MethodHead)
			}
		}
	}
	for path, known := range allowed {
		allow := strings.Join(slices.Sorted(slices.Values(append(known, http.MethodOptions))), ", ")
		for _, method := range methods {
			if slices.Contains(known, method) {
				continue
			}
			g.Add(method, path, func(c echo.Context) error {
				c.Response().Header().Set(echo.HeaderAllow, allow)
				return echo.ErrMethodNotAllowed
			})
		}
		g.OPTIONS(path, func(c echo.Context) error {
			c.Response().Header().Set(echo.HeaderAllow, allow)
			return c.NoContent(http.StatusOK)
		})
	}
}

// errExact is the cause of faults whose messages are CloudKitty's own texts, and are told as they are.
var errExact = errors.New("as CloudKitty says it")

func exact(kind fault.Kind, format string, args ...any) error {
	return fault.Wrap(kind, errExact, format, args...)
}

const badRequest = "The browser (or proxy) sent a request that this server could not understand."

const notFoundPage = `<!doctype html>
<html lang=en>
<title>404 Not Found</title>
<h1>Not Found</h1>
<p>The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again.</p>
`

var statuses = map[fault.Kind]int{
	fault.Internal: http.StatusInternalServerError, fault.Invalid: http.StatusBadRequest, fault.NotFound: http.StatusNotFound,
	fault.Conflict: http.StatusConflict, fault.Forbidden: http.StatusForbidden, fault.Unauthenticated: http.StatusUnauthorized,
	fault.Unavailable: http.StatusServiceUnavailable,
}

// fail answers with an error. What is not for strangers has no text but its status.
func fail(c echo.Context, err error) error {
	status, text := http.StatusInternalServerError, "Internal Server Error"
	if f, ok := errors.AsType[*fault.Error](err); ok {
		status = statuses[f.Kind]
		switch {
		case errors.Is(err, errExact):
			text = f.Message
		case f.Kind != fault.Internal:
			text = web.Sentence(f.Message)
			for _, field := range f.Fields {
				text += " " + web.Sentence(field.Name+": "+field.Message)
			}
		}
	} else if e, ok := errors.AsType[*echo.HTTPError](err); ok {
		switch status = e.Code; status {
		case http.StatusNotFound:
			return c.HTML(status, notFoundPage)
		case http.StatusMethodNotAllowed:
			text = "The method is not allowed for the requested URL."
		case http.StatusRequestEntityTooLarge:
			text = "The data value transmitted exceeds the capacity limit."
		case http.StatusBadRequest:
			text = badRequest
		default:
			text = http.StatusText(status)
		}
	}
	return c.JSON(status, map[string]string{"message": text})
}
