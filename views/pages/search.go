package pages

// Search is the page of what was found.
type Search struct {
	Q     string
	All   bool // whether more than scopes was looked through
	Kinds []HitKind
	only  []Hit
	count int
}

// HitKind is what was found of one kind.
type HitKind struct {
	Title string
	Hits  []Hit
	More  int // that are not shown
}

// Hit is something that was found.
type Hit struct {
	Label, Detail, Path string
	Exact               bool // whether it is called exactly what was sought
}

// Add adds what was found of a kind, with at most the given number shown.
func (s *Search) Add(title string, most int, hits []Hit) {
	if len(hits) == 0 {
		return
	}
	if s.count += len(hits); s.count == 1 {
		s.only = hits
	}
	kind := HitKind{Title: title, Hits: hits}
	if len(hits) > most {
		kind.Hits, kind.More = hits[:most], len(hits)-most
	}
	s.Kinds = append(s.Kinds, kind)
}

// Only returns what was found if it is a single thing, else nil.
func (s *Search) Only() *Hit {
	if s.count != 1 {
		return nil
	}
	return &s.only[0]
}
