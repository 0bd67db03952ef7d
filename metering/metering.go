// Package metering is the domain of usage: where it comes from (sources), whose it is (scopes), what is measured
// (metrics), what was measured (usage), and which windows are still to be measured (the ledger). It is pure: it knows no
// database and no network.
package metering

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"

	"ratebook/money"
	"ratebook/period"
)

// Source is where usage comes from.
type Source struct {
	Ref      int64  // the database's number for it
	Name     string // as metrics and scopes name it; "default" for the one that flags define
	Kind     string // prometheus, static, demo
	URL      string // without credentials
	ScopeKey string // the label that names a scope, such as project_id
}

// Scope is who is charged: a tenant, project or namespace.
type Scope struct {
	Ref    int64  // the database's number for it
	ID     string // as the source knows it
	Name   string // for people; may be empty
	Source Source
	Active bool
}

// Metric is what is measured, and how it is collected: one configuration of metrics.yml. Several configurations may
// share a Name, and several names may be collected from one source metric; the pair is unique within a source.
type Metric struct {
	Ref         int64          `json:"-"`        // the database's number for Name
	Source      string         `json:"-"`        // the source's name
	Name        string         `json:"name"`     // alt_name: as rules and reports call it
	Measured    string         `json:"measured"` // as the source calls it
	Unit        string         `json:"unit"`
	Description string         `json:"description,omitempty"`
	Groupby     []string       `json:"groupby,omitempty"`  // labels collected and reported; without the scope key
	Metadata    []string       `json:"metadata,omitempty"` // labels collected besides
	Factor      money.Ratio    `json:"factor"`
	Offset      money.Ratio    `json:"offset"`
	Mutate      Mutation       `json:"mutate"`
	MutateMap   []MutateEntry  `json:"mutate_map,omitempty"`                 // for Map: what each converted quantity becomes; anything else becomes 0
	Skip        string         `json:"skip_datapoints_expression,omitempty"` // Starlark over datapoint; points for which it is true are not stored
	MayBeAbsent bool           `json:"may_be_absent,omitempty"`              // whether a window without a sample of any scope is normal
	Prometheus  PrometheusArgs `json:"prometheus,omitzero"`
}

// PrometheusArgs are metrics.yml's extra_args for Prometheus, see cloudkitty.md; the empty text is CloudKitty's default.
type PrometheusArgs struct {
	Aggregation   string `json:"aggregation_method,omitempty"` // max if empty
	QueryFunction string `json:"query_function,omitempty"`
	RangeFunction string `json:"range_function,omitempty"`
	Prefix        string `json:"query_prefix,omitempty"`
	Suffix        string `json:"query_suffix,omitempty"`
}

// Mutation is what becomes of a quantity after its conversion. Its text is CloudKitty's word for it.
type Mutation uint8

const (
	None       Mutation = iota
	NumBool             // 1 if not 0, else 0
	NotNumBool          // 0 if not 0, else 1
	Floor
	Ceil
	Map
)

// MutateEntry maps one quantity to another.
type MutateEntry struct {
	From money.Decimal `json:"from"`
	To   money.Decimal `json:"to"`
}

// Configuration is all metrics as of one version; every change of any metric makes a new version.
type Configuration struct {
	Version int64
	Metrics []*Metric
}

// Attribute is a name and a value that a data point carries.
type Attribute struct{ Name, Value string }

// Attributes are sorted by name, each name once.
type Attributes []Attribute

// Get returns the value of the named attribute.
func (a Attributes) Get(name string) (string, bool) {
	for i := range a { // a handful: quicker than a search
		if a[i].Name == name {
			return a[i].Value, true
		}
	}
	return "", false
}

// Sort brings a into its order.
func (a Attributes) Sort() {
	slices.SortFunc(a, func(x, y Attribute) int { return strings.Compare(x.Name, y.Name) })
}

// Fingerprint identifies a series' content.
type Fingerprint [16]byte

// Series is a distinct (scope, metric, unit, groupby, metadata).
type Series struct {
	Scope    *Scope
	Metric   *Metric
	Groupby  Attributes // without the scope key
	Metadata Attributes
	Literals []string // names of attributes whose values are JSON that is no text, see [PushedPoint]; sorted
}

// Fingerprint returns a digest of everything that tells this series from others.
func (s *Series) Fingerprint() Fingerprint {
	var buf [512]byte
	b := binary.AppendVarint(buf[:0], s.Scope.Ref)
	b = binary.AppendVarint(b, s.Metric.Ref)
	b = appendText(b, s.Metric.Unit)
	for _, as := range [...]Attributes{s.Groupby, s.Metadata} {
		b = binary.AppendUvarint(b, uint64(len(as)))
		for _, a := range as {
			b = appendText(appendText(b, a.Name), a.Value)
		}
	}
	for _, name := range s.Literals { // nothing comes after it, so its absence adds nothing
		b = appendText(b, name)
	}
	sum := sha256.Sum256(b)
	return Fingerprint(sum[:16])
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Usage is what one series measured over a run of windows.
type Usage struct {
	Series
	Samples []Sample // by window
}

// Sample is a series' quantity in one window, and, once rated, its price.
type Sample struct {
	Window int // index into the run
	Qty    money.Decimal
	Price  money.Decimal
}

// Request asks a source for the usage of some scopes over a run of windows.
type Request struct {
	Scopes    []*Scope
	Run       period.Run
	Metrics   []*Metric
	MaxPoints int // give up with ErrTooMuch when the answer has more; 0 is no limit
}

// Collection is a source's complete answer to a Request.
type Collection struct {
	Usage         []Usage
	Absent        []Absence // metrics without a sample in the whole source
	Findings      []Finding
	SourceVersion string // the server's software and version, as far as it says
}

// Absence says that the source had no sample of a metric, for any scope, in a window.
type Absence struct {
	Metric *Metric
	Window int // index into the run
}

// ErrTooMuch is wrapped by a collector's error when the source may well answer a smaller question: fewer scopes, fewer
// windows.
var ErrTooMuch = errors.New("too much for one question")

// ErrQuestion is wrapped by a collector's error when the source works, but can't answer this question: it may well answer one
// about other scopes or windows.
var ErrQuestion = errors.New("it concerns this question alone")

// FindingKind names what was noticed about usage that could still be processed.
type FindingKind string

const (
	Unpriced     FindingKind = "unpriced"     // no rule priced the points
	NotNumeric   FindingKind = "not_numeric"  // a threshold met a value that is no number
	RoundedToNil FindingKind = "rounded_to_0" // a price other than 0 rounded to 0
	Skipped      FindingKind = "skipped"      // samples that are no quantity: NaN, infinite, histograms
	LabelClash   FindingKind = "label_clash"  // a label has a name that means something else in rules or reports
	SourceNote   FindingKind = "source_note"  // the source remarked something about the query
)

// Finding is something an operator should see about a scope's window.
type Finding struct {
	Kind   FindingKind
	Scope  *Scope // nil: all scopes of the request
	Window int    // index into the run; -1: all windows of it
	Metric string
	Detail string // what exactly: the attribute and its value, the source's words
	Points int    // how many points it concerns
}

// State is the state of a window in the ledger.
type State uint8

// The values are stored; never change them.
const (
	Due    State = 0 // to be collected (leased when its scope has a live lease that covers it)
	Leased State = 1 // only shown, never stored: due or failed, and in a worker's hands
	Done   State = 2 // charges are stored
	Failed State = 3 // to be collected again after a while
	Waived State = 4 // an operator decided that it won't be collected
	Empty  State = 5 // collected, and there was no usage
)

// MaxLeaseWindows is the most windows of one scope that are leased at a time, and collected at once.
const MaxLeaseWindows = 24

// MaxRerateWindows is the most windows that are leased at a time to be priced again, as a single scope's or together: there is no
// question to a source that could become too large.
const MaxRerateWindows = 10 * MaxLeaseWindows

// Lease is a worker's exclusive right to process a run of one scope's windows, until it expires or is lost.
type Lease struct {
	Token    int64 // fences commits
	Scope    *Scope
	Run      period.Run
	Attempts int // of the first window, before this one
	Points   int // of the scope's window before the run; a guess at what the run will bring

	Task          *Task // to do done windows again for; nil: to do them for the first time
	Config, Rules int64 // for a task: the versions that made all windows of the run
	Accepted      bool  // metrics without any sample are no failure, an operator said
}

// LeaseRequest says which windows a worker would take.
type LeaseRequest struct {
	Holder      string        // who asks, for people
	For         time.Duration // how long the leases last, unless they are renewed
	Scopes      int           // the most leases
	Until       time.Time     // unless zero: only windows that begin before
	Only        []string      // unless empty: only scopes with these ids
	TriedBefore int64         // unless zero: windows whose last attempt is older than this token, whatever their backoff
	Again       bool          // windows that wait for a task or a re-check, instead of those that are due or failed
	Rerates     bool          // of these only those of re-rates, which ask no source
	Collects    bool          // of these only those of which a source is asked
}

// LacksSamples is in the error of a window whose source had no sample of some metric, of any scope: an operator may accept that.
const LacksSamples = " has no samples of "

// Outcome is what became of one window of one scope.
type Outcome struct {
	Scope  *Scope
	Window int       // index into the run
	Error  string    // if it failed
	Retry  time.Time // when to try again, if it failed
}

// Batch is what a worker commits at once: the rated usage of some leased scopes over one run of windows.
type Batch struct {
	Token         int64
	Scopes        []*Scope
	Run           period.Run
	Usage         []Usage
	Failed        []Outcome // windows that are not to be stored; all others of scopes × run are done or empty
	Findings      []Finding
	ConfigVersion int64
	RulesVersion  int64
	SourceVersion string
	Took          time.Duration // to collect

	Task      *Task         // that does the windows again; nil: they are done for the first time
	Unchanged []Outcome     // windows whose charges stay as they are, since nothing in them would change; they have no Usage
	Recheck   time.Duration // how long after its end a window is checked again for late usage; 0: never

	// Before is, for a task, what the windows are charged before, as the archive returned it under the lease: of all windows that are
	// neither failed nor unchanged, and with its places, see there. If it is nil, it is read to commit the batch.
	Before []Usage
}
