package components

import (
	"context"
	"strings"
	"time"
	"unicode"

	"github.com/a-h/templ"

	"ratebook/views/format"
)

// withUnit puts a unit, if there is one, behind a number.
func withUnit(number, unit string) string { return strings.TrimSpace(number + " " + unit) }

// kind is the field's type. A date field would not show, and so lose, what is no date.
func (i Input) kind() string {
	_, err := time.Parse(time.DateOnly, i.Value)
	if i.Type == "" || i.Type == "date" && i.Value != "" && err != nil {
		return "text"
	}
	return i.Type
}

// described ties a field to its help and its error.
func described(name, help, wrong string) templ.OrderedAttributes {
	var attributes templ.OrderedAttributes
	var by []string
	if help != "" {
		by = append(by, name+"-help")
	}
	if wrong != "" {
		by = append(by, name+"-error")
		attributes = append(attributes, templ.KeyValue[string, any]{Key: "aria-invalid", Value: "true"})
	}
	if len(by) > 0 {
		attributes = append(attributes, templ.KeyValue[string, any]{Key: "aria-describedby", Value: strings.Join(by, " ")})
	}
	return attributes
}

// sortAttributes says how a column is sorted, if it is.
func sortAttributes(s Sorted) templ.OrderedAttributes {
	if s.Order == "" {
		return nil
	}
	return templ.OrderedAttributes{{Key: "aria-sort", Value: s.Order}}
}

// swap lets htmx put the answer in the target's place, and the address in the browser's. The id keeps the focus on the link.
func swap(ctx context.Context, path, target, id string) templ.OrderedAttributes {
	if target == "" {
		return nil
	}
	how := "outerHTML"
	if target == "#main" {
		how = "innerHTML" // what stays around a page is not part of it
	}
	return templ.OrderedAttributes{
		{Key: "id", Value: slug(target + "-" + id)},
		{Key: "hx-get", Value: to(ctx, path)},
		{Key: "hx-target", Value: target},
		{Key: "hx-swap", Value: how},
		{Key: "hx-push-url", Value: "true"},
	}
}

// focus keeps the keyboard from stopping at a link.
func focus(stop bool) templ.OrderedAttributes {
	if stop {
		return nil
	}
	return templ.OrderedAttributes{{Key: "tabindex", Value: "-1"}}
}

// slug makes an id of a text.
func slug(text string) string {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return strings.Join(words, "-")
}

// place says where one is, such as "51–100 of 312 groups". All pages but the last are of one length.
func (p Pages) place() string {
	all := format.Count(int64(p.Rows)) + " " + p.What
	if p.PerPage == 0 {
		return "Page " + format.Count(int64(p.Page)) + " of " + format.Count(int64(p.Pages)) + ", " + all
	}
	first := (p.Page-1)*p.PerPage + 1
	return format.Count(int64(first)) + "–" + format.Count(int64(min(first+p.PerPage-1, p.Rows))) + " of " + all
}
