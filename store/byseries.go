package store

// bySeries maps the ids of series to something whose zero value means nothing. Ids that are asked for together lie close
// together, so pages of them are several times quicker than a map.
type bySeries[T any] struct {
	pages map[int64]*[seriesPage]T
	last  *[seriesPage]T // the page that was used last
	at    int64          // and its number
}

const seriesPage = 4096

func (m *bySeries[T]) page(id int64) *[seriesPage]T {
	if n := id / seriesPage; m.last == nil || n != m.at {
		m.last, m.at = m.pages[n], n
	}
	return m.last
}

func (m *bySeries[T]) get(id int64) (v T) {
	if p := m.page(id); p != nil {
		v = p[id%seriesPage]
	}
	return v
}

func (m *bySeries[T]) set(id int64, v T) {
	p := m.page(id)
	if p == nil {
		p = new([seriesPage]T)
		if m.pages == nil {
			m.pages = map[int64]*[seriesPage]T{}
		}
		m.pages[id/seriesPage], m.last, m.at = p, p, id/seriesPage
	}
	p[id%seriesPage] = v
}
