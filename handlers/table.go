package handlers

import "ratebook/views/components"

// sortedAs says of a heading how its column is sorted now, if it is; its link then sorts the other way round.
func sortedAs(h *components.Sorted, sorted, descending bool) {
	if !sorted {
		return
	}
	h.Order, h.Descending = "ascending", !descending
	if descending {
		h.Order = "descending"
	}
}

// pageCount returns how many pages rows fill; there is always one.
func pageCount(rows, perPage int) int { return max(1, (rows+perPage-1)/perPage) }
