package pages

// API is the page that describes what programs can ask.
type API struct {
	MakesTokens bool // whether the reader may
	Parts       []APIPart
	Objects     []APIObject // that requests and answers are made of, by name
}

// APIPart is operations that belong together.
type APIPart struct {
	ID, Title, Text string
	Operations      []APIOperation
}

// APIOperation is something that programs can ask.
type APIOperation struct {
	ID, Method, Path string
	Also             []string // other paths that do the same
	Summary, Text    string
	Role             string // the least that may ask; none: anyone may
	Parameters       []APIValue
	Body             *APIContent // nil: there is none
	Answers          []APIAnswer
	Curl             string // a command that asks
}

// APIValue is a parameter, or a member of an object.
type APIValue struct {
	Name, In string // path, query or header; empty: it is a member
	Required bool
	Type     []APIWord
	Text     string
}

// APIWord is a part of what a value may be; Object: it is the name of one of the objects.
type APIWord struct {
	Text   string
	Object bool
}

// APIContent is what a body has.
type APIContent struct {
	MediaType string
	Type      []APIWord
	Example   string // may be empty
}

// APIAnswer is what may come back.
type APIAnswer struct {
	Status, Text string
	Content      *APIContent // nil: nothing
	Object       []APIValue  // the members of an object without a name
}

// APIObject is an object that requests and answers are made of.
type APIObject struct {
	Name, Text string
	Members    []APIValue
}

// example returns the example that an operation's answers have, if any.
func (o *APIOperation) example() *APIContent {
	for _, a := range o.Answers {
		if a.Content != nil && a.Content.Example != "" && a.Status < "300" {
			return a.Content
		}
	}
	return nil
}
