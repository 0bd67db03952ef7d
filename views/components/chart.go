package components

import (
	"context"
	"hash/fnv"
	"strconv"
	"strings"

	"ratebook/money"
	"ratebook/views/format"
	"ratebook/views/link"
)

// Charts are drawn in whole units of their own, and the browser stretches the drawing over the place there is.
const (
	chartHeight = 1000 // units from the top of the scale to its foot
	barPitch    = 100  // units from one bucket to the next
	barWidth    = 78

	maxLinks = 62  // buckets that the keyboard reaches one by one; more would be a trap
	maxBars  = 120 // buckets drawn as bars of their own; more are one shape a series
)

// scale makes whole numbers of decimals, so that geometry needs no fractions: value = whole × 10^(up-places).
type scale struct {
	up     money.Decimal // 10^-up, where the values are too great for whole numbers
	upBy   int
	places int32
}

const scaleDigits = 12 // of the greatest value; 10^12 × chartHeight fits into an int64

// scaleFor returns the scale for values up to greatest, which is not negative.
func scaleFor(greatest money.Decimal) scale {
	s := scale{up: money.New(1, 0)}
	whole, decimals, _ := strings.Cut(greatest.String(), ".")
	switch zeros := len(decimals) - len(strings.TrimLeft(decimals, "0")); {
	case len(whole) > scaleDigits:
		s.upBy = len(whole) - scaleDigits
		s.up = money.MustParse("1e-" + strconv.Itoa(s.upBy))
	case whole == "0":
		s.places = int32(zeros) + scaleDigits //nolint:gosec // a decimal has far fewer digits than an int32 counts
	default:
		s.places = scaleDigits - int32(len(whole)) //nolint:gosec // len(whole) is at most scaleDigits
	}
	return s
}

// whole returns d in the scale.
func (s scale) whole(d money.Decimal) int64 {
	if s.upBy > 0 {
		d = d.Mul(s.up)
	}
	n, _ := d.Round(s.places).Parts(s.places) // fits: the scale was made for the greatest
	return n
}

// decimal returns what n stands for.
func (s scale) decimal(n int64) money.Decimal {
	d := money.New(n, s.places)
	if s.upBy > 0 {
		d = d.Mul(money.MustParse("1e" + strconv.Itoa(s.upBy)))
	}
	return d
}

func size(d money.Decimal) money.Decimal {
	if d.Sign() < 0 {
		return d.Neg()
	}
	return d
}

func greatest(a, b money.Decimal) money.Decimal {
	if a.Cmp(b) < 0 {
		return b
	}
	return a
}

// part returns part/whole in thousandths, from 0 to 1000.
func part(p, whole money.Decimal) int {
	p, whole = size(p), size(whole)
	if whole.IsZero() || p.IsZero() {
		return 0
	}
	s := scaleFor(greatest(p, whole))
	w := s.whole(whole)
	if w == 0 { // p is so much greater that nothing is left of it
		return 1000
	}
	return int(min(s.whole(p)*1000/w, 1000))
}

// plot is a chart's geometry.
type plot struct {
	Chart
	Ticks   []string // amounts beside the plot, from the top down, at equal distances
	Lines   string   // path of the lines at the ticks
	Zero    string   // path of the line at zero
	Columns []column // one a bucket, unless Shapes
	Shapes  []shape  // one a series, where there are too many buckets for columns
	Labels  []axisLabel
	Empty   bool // nothing to draw: no buckets, or zero all over
}

// column is the drawing of one bucket.
type column struct {
	Path   string // where it leads
	Title  string // several lines: what it is, its total, its series
	Focus  bool   // whether the keyboard reaches it
	Area   string // path of all the bucket's place, which is what one points at
	Pieces []shape
}

// shape is a path in a series' colour.
type shape struct {
	Color int
	Path  string
}

// axisLabel stands below the plot.
type axisLabel struct {
	Text  string
	At    string // from the left, such as 12.50%
	Minor bool   // left out where the chart is narrow
}

// Width is the width of the drawing.
func (p plot) Width() string { return strconv.Itoa(len(p.Buckets) * barPitch) }

// ViewBox is the drawing's.
func (p plot) ViewBox() string { return "0 0 " + p.Width() + " " + strconv.Itoa(chartHeight) }

// Dense reports whether the bars have no place between them.
func (p plot) Dense() bool { return len(p.Shapes) > 0 }

// value returns a series' value in a bucket; a series may be shorter than the axis.
func (s Series) value(bucket int) money.Decimal {
	if bucket < len(s.Values) {
		return s.Values[bucket]
	}
	return money.Decimal{}
}

// piece is what a series adds to a bucket's stack: from where to where, in the chart's scale.
type piece struct{ series, from, to int64 }

func newPlot(c Chart) plot {
	p := plot{Chart: c, Labels: axisLabels(c.Buckets)}
	var top, foot money.Decimal // the highest stack, and the lowest as a positive number
	for b := range c.Buckets {
		var above, below money.Decimal
		for _, s := range c.Series {
			if v := s.value(b); v.Sign() > 0 {
				above.Accumulate(&v)
			} else if v = v.Neg(); !v.IsZero() {
				below.Accumulate(&v)
			}
		}
		top, foot = greatest(top, above), greatest(foot, below)
	}
	if top.IsZero() && foot.IsZero() {
		p.Empty = true
		return p
	}
	sc := scaleFor(greatest(top, foot))
	step := tickStep(sc.whole(top), sc.whole(foot))
	high, low := ceilTo(sc.whole(top), step), -ceilTo(sc.whole(foot), step)
	y := func(n int64) string { return strconv.FormatInt((high-n)*chartHeight/(high-low), 10) }

	width := p.Width()
	for n := high; n >= low; n -= step {
		p.Ticks = append(p.Ticks, format.Exact(sc.decimal(n)))
		p.Lines += "M0 " + y(n) + "H" + width
	}
	p.Zero = "M0 " + y(0) + "H" + width

	stacks := make([][]piece, len(c.Buckets))
	for b := range c.Buckets {
		var above, below int64
		for i, s := range c.Series {
			switch n := sc.whole(s.value(b)); {
			case n > 0:
				stacks[b] = append(stacks[b], piece{int64(i), above, above + n})
				above += n
			case n < 0:
				stacks[b] = append(stacks[b], piece{int64(i), below + n, below})
				below += n
			}
		}
	}
	bar := func(b, at, wide int, from, to string) string {
		left := b*barPitch + at
		return "M" + strconv.Itoa(left) + " " + from + "V" + to + "H" + strconv.Itoa(left+wide) + "V" + from + "Z"
	}
	if len(c.Buckets) > maxBars {
		paths := make([]strings.Builder, len(c.Series))
		for b, stack := range stacks {
			for _, s := range stack {
				paths[s.series].WriteString(bar(b, 0, barPitch, y(s.from), y(s.to)))
			}
		}
		for i, s := range c.Series {
			p.Shapes = append(p.Shapes, shape{s.Color, paths[i].String()})
		}
		return p
	}
	for b, stack := range stacks {
		col := column{
			Path: c.Buckets[b].Path, Title: c.title(b), Focus: len(c.Buckets) <= maxLinks,
			Area: bar(b, 0, barPitch, "0", strconv.Itoa(chartHeight)),
		}
		for _, s := range stack {
			col.Pieces = append(col.Pieces, shape{c.Series[s.series].Color, bar(b, (barPitch-barWidth)/2, barWidth, y(s.from), y(s.to))})
		}
		p.Columns = append(p.Columns, col)
	}
	return p
}

// title says what a bucket holds: a line for the bucket with its total, and, if there are several, one for each series
// that is not zero, from the top of the stack down.
func (c Chart) title(b int) string {
	var total money.Decimal
	var lines []string
	for i := len(c.Series) - 1; i >= 0; i-- {
		v := c.Series[i].value(b)
		total.Accumulate(&v)
		if !v.IsZero() {
			lines = append(lines, c.Series[i].Name+": "+format.Amount(v))
		}
	}
	name := c.Buckets[b].Title
	if name == "" {
		name = c.Buckets[b].Label
	}
	first := name + ": " + strings.TrimSpace(format.Amount(total)+" "+c.Currency)
	if len(lines) == 0 || len(c.Series) == 1 {
		return first
	}
	return first + "\n" + strings.Join(lines, "\n")
}

func ceilTo(n, step int64) int64 { return (n + step - 1) / step * step }

// tickStep returns the least of 1, 2, 5, 10, 20, ... with which at most five ticks cover both sides of zero.
func tickStep(top, foot int64) int64 {
	for decade := int64(1); ; decade *= 10 {
		for _, m := range []int64{1, 2, 5} {
			if step := m * decade; ceilTo(top, step)/step+ceilTo(foot, step)/step <= 4 {
				return step
			}
		}
	}
}

// axisLabels chooses the labels that have room below the plot: where the chart is 720 px wide, and, not minor, at 360 px.
func axisLabels(buckets []Bucket) []axisLabel {
	const (
		narrow, wide = 290, 640 // px that labels share at least
		letter, gap  = 7, 12    // px
	)
	var at []int
	longest := 1
	for i, b := range buckets {
		if b.Label != "" {
			at = append(at, i)
			longest = max(longest, len([]rune(b.Label)))
		}
	}
	every := func(px int) int {
		room := max(1, px/(longest*letter+gap))
		return max(1, (len(at)+room-1)/room)
	}
	few, many := every(wide), 1
	for few*many < every(narrow) { // the few are some of the many, so that none moves
		many++
	}
	var labels []axisLabel
	for i := 0; i < len(at); i += few {
		middle := (2*at[i] + 1) * 5000 / len(buckets) // in hundredths of a percent
		labels = append(labels, axisLabel{
			Text: buckets[at[i]].Label, At: percentAttr(middle), Minor: i/few%many != 0,
		})
	}
	return labels
}

// percentAttr writes hundredths of a percent.
func percentAttr(n int) string {
	return strconv.Itoa(n/100) + "." + strconv.Itoa(n%100/10) + strconv.Itoa(n%10) + "%"
}

// colorClass is the class of a chart's colour.
func colorClass(color int) string { return "c" + strconv.Itoa(min(max(color, 0), Others)) }

// Colors returns a colour for each name. A name has the same wherever it appears, unless another name before it has taken
// that; names after the eighth get the colour of Others.
func Colors(names []string) []int {
	colors, taken := make([]int, len(names)), 0
	var used [Others]bool
	for i, name := range names {
		if taken == Others {
			colors[i] = Others
			continue
		}
		h := fnv.New32a()
		_, _ = h.Write([]byte(name))  // never fails
		color := int(h.Sum32() >> 29) // the high bits are the best mixed
		for used[color] {
			color = (color + 1) % Others
		}
		used[color] = true
		taken++
		colors[i] = color
	}
	return colors
}

// sparkline returns the paths of a sparkline in a drawing of 800 × 200: its values and the line at zero.
func sparkline(values []money.Decimal) (bars, zero string) {
	const width, height, fewest = 800, 200, 8 // of fewer values the bars would be blocks
	var top, foot money.Decimal
	for _, v := range values {
		top, foot = greatest(top, v), greatest(foot, v.Neg())
	}
	if top.IsZero() && foot.IsZero() {
		return "", "M0 " + strconv.Itoa(height) + "H" + strconv.Itoa(width)
	}
	sc := scaleFor(greatest(top, foot))
	high, low := sc.whole(top), -sc.whole(foot)
	y := func(n int64) string { return strconv.FormatInt((high-n)*height/(high-low), 10) }
	var b strings.Builder
	slots := max(len(values), fewest)
	for i, v := range values {
		n := sc.whole(v)
		if n == 0 {
			continue
		}
		left, right := i*width/slots, (i+1)*width/slots
		if len(values) <= 40 { // a gap between bars, where one can be seen
			right -= (right - left) / 5
		}
		b.WriteString("M" + strconv.Itoa(left) + " " + y(0) + "V" + y(n) + "H" + strconv.Itoa(right) + "V" + y(0) + "Z")
	}
	return b.String(), "M0 " + y(0) + "H" + strconv.Itoa(width)
}

// to is a link's address, or an empty one where there is no path.
func to(ctx context.Context, path string) string {
	if path == "" {
		return ""
	}
	return string(link.To(ctx, path))
}
