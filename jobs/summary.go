package jobs

import (
	"sync"

	"ratebook/metering"
	"ratebook/money"
)

// Summary is what processing did; it marshals to the JSON that `ratebook process` prints.
type Summary struct {
	mu sync.Mutex

	Scopes   int                                     `json:"new_scopes"`
	Planned  int64                                   `json:"planned_windows"`
	Done     int                                     `json:"done"`    // windows with charges
	Empty    int                                     `json:"empty"`   // windows without usage
	Failed   int                                     `json:"failed"`  // windows that will be tried again
	Lost     int                                     `json:"lost"`    // windows that could not be stored: they were not ours any more, or done already
	CutOff   int                                     `json:"cut_off"` // windows that were being stored when the database went away; what was stored of them is not counted
	Redone   int                                     `json:"redone"`  // windows done again, for tasks and re-checks
	Same     int                                     `json:"same"`    // of these, those in which nothing changed
	Points   int                                     `json:"points"`
	Amount   money.Decimal                           `json:"amount"`
	Currency string                                  `json:"currency"`
	Findings map[metering.FindingKind]map[string]int `json:"findings"` // points by kind and metric
	Errors   map[string]int                          `json:"errors"`   // failed windows by message
	Took     int64                                   `json:"took_ms"`
}

// mostErrors is how many different messages a summary keeps.
const mostErrors = 20

func newSummary() *Summary {
	return &Summary{Findings: map[metering.FindingKind]map[string]int{}, Errors: map[string]int{}}
}

// add counts a committed batch. Points, amounts and findings are those of windows that were done for the first time.
func (s *Summary) add(b *metering.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	type window struct {
		scope  int64
		window int
	}
	failed, full := map[window]bool{}, map[window]bool{}
	for _, f := range b.Failed {
		failed[window{f.Scope.Ref, f.Window}] = true
		message := f.Error
		if _, known := s.Errors[message]; !known && len(s.Errors) >= mostErrors {
			message = "other errors"
		}
		s.Errors[message]++
	}
	s.Failed += len(failed)
	if b.Task != nil {
		s.Redone += len(b.Scopes)*b.Run.Count - len(failed)
		s.Same += len(b.Unchanged)
		return
	}
	for i := range b.Usage {
		u := &b.Usage[i]
		for j := range u.Samples {
			w := window{u.Scope.Ref, u.Samples[j].Window}
			if failed[w] {
				continue
			}
			full[w] = true
			s.Points++
			s.Amount = s.Amount.Add(u.Samples[j].Price)
		}
	}
	for _, f := range b.Findings {
		if s.Findings[f.Kind] == nil {
			s.Findings[f.Kind] = map[string]int{}
		}
		s.Findings[f.Kind][f.Metric] += max(f.Points, 1) // a note about a query counts as one
	}
	s.Done += len(full)
	s.Empty += len(b.Scopes)*b.Run.Count - len(failed) - len(full)
}

func (s *Summary) lost(windows int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Lost += windows
}

func (s *Summary) cutOff(windows int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.CutOff += windows
}
