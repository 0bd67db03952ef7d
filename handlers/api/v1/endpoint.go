package v1

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/handlers/api"
	"ratebook/web"
)

// endpoint is one thing that the API does.
type endpoint struct {
	Method string
	Paths  []string // below /v1; each {name} is an argument. The first is the one to use, the others do the same

	// Arguments come from the path, the query or, if Body is nil, a JSON object.
	Arguments []argument
	Body      *content

	Role   access.Role // the least that may
	Policy string      // that CloudKitty names to who may not

	answer func(s *server, r *request) error
}

// argument is an argument, or an attribute of a body.
type argument struct {
	Name     string
	Type     Type
	Required bool
}

// content is the JSON object that a request has.
type content struct {
	Name       string // that CloudKitty has for it in messages
	Attributes []argument
}

// Endpoints lists what the API answers. Arguments that the first path does not have are those of its query.
func Endpoints() []api.Endpoint {
	all := make([]api.Endpoint, len(endpoints))
	for i := range endpoints {
		e := &endpoints[i]
		all[i] = api.Endpoint{Method: e.Method, Paths: e.Paths, Role: e.Role}
		for _, a := range e.Arguments {
			in := "query"
			if strings.Contains(e.Paths[0], "{"+a.Name+"}") {
				in = "path"
			}
			all[i].Parameters = append(all[i].Parameters, api.Parameter{Name: a.Name, In: in, Required: a.Required})
		}
		if e.Body == nil {
			continue
		}
		for _, a := range e.Body.Attributes {
			all[i].Parameters = append(all[i].Parameters, api.Parameter{Name: a.Name, In: "body", Required: a.Required})
		}
	}
	return all
}

// request is a request with what it says.
type request struct {
	echo.Context
	who  *access.Caller
	args values
	body values // nil: the endpoint takes none
}

// route is one path of an endpoint.
type route struct {
	*endpoint
	segments []string // "" is an argument
	names    []string // of the arguments
}

// compile returns the routes, those with more words before those with more arguments.
func compile(endpoints []endpoint) []route {
	var routes []route
	for i := range endpoints {
		for _, path := range endpoints[i].Paths {
			r := route{endpoint: &endpoints[i]}
			for segment := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
				if name, ok := strings.CutPrefix(segment, "{"); ok {
					r.names = append(r.names, strings.TrimSuffix(name, "}"))
					segment = ""
				}
				r.segments = append(r.segments, segment)
			}
			routes = append(routes, r)
		}
	}
	slices.SortStableFunc(routes, func(a, b route) int { return slices.CompareFunc(b.segments, a.segments, cmp.Compare) })
	return routes
}

// match returns the arguments that the path has, if it is one of the route's.
func (r *route) match(segments []string) (args []string, ok bool) {
	if len(segments) != len(r.segments) {
		return nil, false
	}
	for i, want := range r.segments {
		switch {
		case want == "" && segments[i] != "":
			args = append(args, segments[i])
		case want != segments[i] || want == "":
			return nil, false
		}
	}
	return args, true
}

// dispatch finds what a request asks for, and whether it may, and has it answered.
func (s *server) dispatch(c echo.Context) error {
	segments, ok := split(c.Request().URL)
	if !ok {
		return notAllowed(c)
	}
	var allow []string
	for i := range s.routes {
		route := &s.routes[i]
		path, ok := route.match(segments)
		if !ok {
			continue
		}
		if route.Method != c.Request().Method {
			if !slices.Contains(allow, route.Method) {
				allow = append(allow, route.Method)
			}
			continue
		}
		r := &request{Context: c, who: web.Caller(c)}
		if r.who == nil || !r.who.May(route.Role) {
			return forbidden(route.Policy)
		}
		if err := r.read(route, path); err != nil {
			return err
		}
		return route.answer(s, r)
	}
	if len(allow) > 0 {
		slices.Sort(allow)
		c.Response().Header().Set(echo.HeaderAllow, strings.Join(allow, ", "))
	}
	return notAllowed(c)
}

// split returns the parts of a path below /v1, as the endpoints have them.
func split(u *url.URL) (segments []string, ok bool) {
	path := strings.TrimRight(strings.TrimPrefix(u.EscapedPath(), "/v1/"), "/")
	segments = strings.Split(path, "/")
	for i, segment := range segments {
		text, err := url.PathUnescape(segment)
		if err != nil {
			return nil, false
		}
		segments[i] = text
	}
	if segments[0] == "billing" {
		segments[0] = "rating"
	}
	return segments, true
}

// forbidden refuses in CloudKitty's words.
func forbidden(policy string) error {
	return fault.New(fault.Forbidden, "Policy doesn't allow %s to be performed.", policy)
}

// path returns the address of what a request is about, without a slash at the end.
func (r *request) path() string {
	return web.Origin(r) + strings.TrimRight(r.Request().URL.EscapedPath(), "/")
}

// created answers with what was made, and where it is.
func (r *request) created(id string, made any) error {
	location := r.path()
	if !strings.HasSuffix(location, "/"+id) {
		location += "/" + id
	}
	r.Response().Header().Set(echo.HeaderLocation, location)
	return r.JSON(http.StatusCreated, made)
}

// redirected sends clients to where they are, as CloudKitty does after a PUT. They follow, some with the same PUT.
func (r *request) redirected() {
	r.Response().Header().Set(echo.HeaderLocation, web.Origin(r)+r.Request().URL.EscapedPath())
}

// changed answers a PUT that changed something, or had nothing to change.
func (r *request) changed() error {
	r.redirected()
	return r.NoContent(http.StatusFound)
}

// id returns the id that an argument is, in the form that ids have here.
func (r *request) id(name string) string {
	return cmp.Or(canonical(r.args.text(name)), r.args.text(name))
}
