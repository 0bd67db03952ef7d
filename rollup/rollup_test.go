package rollup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ratebook/money"
)

func dec(s string) money.Decimal { return money.MustParse(s) }

func entry(series, points int64, qty, price string) Entry {
	return Entry{Series: series, Sums: Sums{Points: points, Qty: dec(qty), Price: dec(price)}}
}

func encode(t testing.TB, p Pack) []byte {
	t.Helper()
	b, err := p.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func samePack(a, b Pack) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Series != b[i].Series || a[i].Points != b[i].Points || !a[i].Qty.Equal(b[i].Qty) || !a[i].Price.Equal(b[i].Price) {
			return false
		}
	}
	return true
}

// huge has more digits than any fixed width.
var huge = strings.Repeat("9876543210", 30)

var packs = map[string]Pack{
	"empty":          nil,
	"zero amounts":   {entry(0, 1, "0", "0"), entry(1, 1, "0", "0")},
	"one":            {entry(7, 24, "24", "0.2952")},
	"negative":       {entry(1, 1, "-3.5", "-0.000000000001"), entry(2, 1, "-9223372036854775807", "-1")},
	"18 decimals":    {entry(1, 24, "512.123456789012345678", "1.5"), entry(2, 1, "0.000000000000000001", "2")},
	"64 bits":        {entry(1, 1, "9223372036854775807", "9223372036854775808"), entry(2, 1, "18446744073709551615", "18446744073709551616")},
	"36 digits":      {entry(1, 1, "999999999999999999999999999999999999", "-999999999999999999.999999999999999999")},
	"37 digits":      {entry(1, 1, "1000000000000000000000000000000000000", "-1000000000000000000.000000000000000001")},
	"128 bits":       {entry(1, 1, "340282366920938463463374607431768211455", "340282366920938463463374607431768211456")},
	"any length":     {entry(1, 1, huge, "-"+huge+"."+huge), entry(2, 1, "1", "0."+huge)},
	"trailing zeros": {entry(1, 1, "1000.500000000000000000", "12.340000000000"), entry(2, 1, "2.000000000000000000", "0")},
	"extreme ids":    {entry(0, math.MaxInt64, "1", "1"), entry(maxSeries, 1, "1", "1")},
	"full": func() (p Pack) {
		for i := range int64(MaxSeries) {
			p = append(p, entry(1000+3*i, 1+i, "1.25", "0.1"))
		}
		return p
	}(),
}

func TestRoundTrip(t *testing.T) {
	for name, p := range packs {
		t.Run(name, func(t *testing.T) {
			b := encode(t, p)
			got, err := Decode(nil, b)
			if err != nil {
				t.Fatal(err)
			}
			if !samePack(got, p) {
				t.Fatalf("got %v, want %v", got, p)
			}
			if again := encode(t, got); !bytes.Equal(again, b) {
				t.Errorf("encoded again:\n%x, first\n%x", again, b)
			}
		})
	}
}

// TestFormat holds the bytes themselves, since databases hold them: a change needs a new version.
func TestFormat(t *testing.T) {
	b := encode(t, Pack{entry(5, 24, "24.50", "-0.2952"), entry(6, 720, "1", "12.3"), entry(9, 720, "0", "0.0001"), entry(10, 720, "0", "0.0002")})
	want := []byte{
		1, 4, 1, 4,
		5<<2 | 3, 23, 0x22, 0xea, 0x01, 0x11, 0x17, // 245 × 2; 2952 × 2 + 1
		0<<2 | 3, 0xcf, 0x05, 0x31, 20, 0xf0, 0xc0, 0x03, // 720 - 1; 10 × 2; 123000 × 2
		2<<2 | 2, 0x10, 2, // none; 1 × 2
		0<<2 | 0, 4, // none; 2 × 2
	}
	want = binary.LittleEndian.AppendUint32(want, crc32.Checksum(want, castagnoli))
	if !bytes.Equal(b, want) {
		t.Errorf("got  %x\nwant %x", b, want)
	}
}

func TestDecodeAppends(t *testing.T) {
	first, second := packs["one"], packs["negative"]
	p, err := Decode(Pack{}, encode(t, first))
	if err != nil {
		t.Fatal(err)
	}
	if p, err = Decode(p, encode(t, second)); err != nil || !samePack(p, append(first[:1:1], second...)) {
		t.Errorf("got %v, %v", p, err)
	}
	if q, err := Decode(p, []byte("nonsense")); !errors.Is(err, ErrDamaged) || !samePack(q, p) {
		t.Errorf("after damage: %v, %v", q, err)
	}
	b := encode(t, first)
	if both, err := second.Encode(b); err != nil || !bytes.Equal(both[len(b):], encode(t, second)) {
		t.Errorf("Encode does not append: %v", err)
	}
}

func power(s string, n int) money.Decimal {
	d := dec("1")
	for range n {
		d = d.Mul(dec(s))
	}
	return d
}

func TestEncodeRefuses(t *testing.T) {
	for name, p := range map[string]Pack{
		"unsorted":        {entry(2, 1, "1", "1"), entry(1, 1, "1", "1")},
		"twice":           {entry(2, 1, "1", "1"), entry(2, 1, "1", "1")},
		"negative series": {entry(-1, 1, "1", "1")},
		"large series":    {entry(maxSeries+1, 1, "1", "1")},
		"no points":       {entry(1, 0, "1", "1")},
		"too many":        append(packs["full"][:MaxSeries:MaxSeries], entry(1e6, 1, "1", "1")),
		"too many places": {Entry{1, Sums{1, power("1e-1000", 5), dec("0")}}},
		"too many digits": {Entry{1, Sums{1, dec("0"), power("1e1000", 10)}}},
	} {
		if b, err := p.Encode([]byte("x")); !errors.Is(err, ErrInvalid) || string(b) != "x" {
			t.Errorf("%s: got %q, %v", name, b, err)
		}
	}
}

// TestDamage changes, cuts and extends packs in every place.
func TestDamage(t *testing.T) {
	for name, p := range packs {
		b := encode(t, p)
		refused := func(how string, b []byte) {
			if _, err := Decode(nil, b); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s, %s: got %v", name, how, err)
			}
		}
		for i := range b {
			refused("truncated", b[:i])
			for bit := range 8 {
				b[i] ^= 1 << bit
				refused("flipped", b)
				b[i] ^= 1 << bit
			}
		}
		refused("extended", append(b[:len(b):len(b)], 0))
	}
}

// seal adds the checksum to what may be nonsense.
func seal(b ...byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// TestMalformed are packs with a right checksum that no Encode has written.
func TestMalformed(t *testing.T) {
	max := bytes.Repeat([]byte{0xff}, 9)
	join := func(parts ...[]byte) []byte { return seal(bytes.Join(parts, nil)...) }
	// a sound one: 1, 1, 0, 0, then head 3 (or 7 for series 1), points-1 0, lengths 0x11, 2, 2
	for name, b := range map[string][]byte{
		"nothing":            {},
		"other version":      seal(2, 0),
		"version only":       seal(1),
		"too many":           join([]byte{1, 0x81, 1, 0, 0, 1, 0}, make([]byte, 128)),
		"entries missing":    seal(1, 2, 0, 0, 3, 0, 0x11, 2, 2),
		"entry torn":         seal(1, 1, 0, 0, 3, 0, 0x11, 2),
		"head only":          seal(1, 1, 0, 0, 3),
		"lengths missing":    seal(1, 1, 0, 0, 3, 0),
		"places missing":     seal(1, 1),
		"places too many":    seal(1, 1, 0x81, 0x20, 0, 3, 0, 0x11, 2, 2),
		"trailing":           seal(1, 1, 0, 0, 3, 0, 0x11, 2, 2, 0),
		"trailing, empty":    seal(1, 0, 0),
		"no points":          seal(1, 1, 0, 0, 2, 0x11, 2, 2),
		"points repeated":    seal(1, 2, 0, 0, 3, 0, 0x11, 2, 2, 1, 0, 2, 2),
		"lengths repeated":   seal(1, 2, 0, 0, 3, 0, 0x11, 2, 2, 2, 0x11, 2, 2),
		"padded id":          seal(1, 1, 0, 0, 0x83, 0, 0, 0x11, 2, 2),
		"padded qty":         seal(1, 1, 0, 0, 3, 0, 0x12, 2, 0, 2),
		"padded qty, middle": seal(1, 2, 0, 0, 3, 0, 0x12, 2, 0, 2, 0, 2, 2, 2),
		"padded 9 bytes":     seal(1, 1, 0, 0, 3, 0, 0x19, 2, 2, 2, 2, 2, 2, 2, 2, 0, 2),
		"padded length":      join([]byte{1, 1, 0, 0, 3, 0, 0x1f, 0x8f, 0}, bytes.Repeat([]byte{2}, 16)),
		"long, but short":    join([]byte{1, 1, 0, 0, 3, 0, 0x1f, 14}, bytes.Repeat([]byte{2}, 15)),
		"long torn":          seal(1, 1, 0, 0, 3, 0, 0x1f, 20, 2, 2),
		"long, too long":     join([]byte{1, 1, 0, 0, 3, 0, 0x1f, 0x81, 0x20}, bytes.Repeat([]byte{2}, maxInteger+2)),
		"negative zero":      seal(1, 1, 0, 0, 3, 0, 0x11, 1, 2),
		"negative zero last": seal(1, 1, 0, 0, 3, 0, 0x11, 2, 1),
		"negative 0, middle": seal(1, 2, 0, 0, 3, 0, 0x11, 1, 2, 0, 2, 2),
		"endless id":         join([]byte{1, 1, 0, 0}, max, max),
		"id over 64 bits":    join([]byte{1, 1, 0, 0}, max, []byte{2, 0, 0x11, 2, 2}),
		"ids overflow":       join([]byte{1, 2, 0, 0, 3, 0, 0x11, 2, 2}, max, []byte{1, 1, 0x12, 2, 2, 2}),
		"points overflow":    join([]byte{1, 1, 0, 0, 3}, max[:8], []byte{0x7f, 0x11, 2, 2}),
	} {
		if p, err := Decode(nil, b); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: got %v, %v", name, p, err)
		}
	}
}

func TestMerge(t *testing.T) {
	stored := Pack{entry(1, 2, "3", "0.3"), entry(2, 1, "5", "0.5"), entry(4, 1, "0", "0")}
	deltas := Pack{
		entry(0, 1, "1", "0.1"),
		entry(1, 0, "-0.5", "0.05"), // a charge replaced
		entry(2, -1, "-5", "-0.50"), // all taken away
		entry(9, 0, "0", "0"),       // nothing
	}
	want := Pack{entry(0, 1, "1", "0.1"), entry(1, 2, "2.5", "0.35"), entry(4, 1, "0", "0")}
	for range 2 {
		if got, err := Merge(nil, stored, deltas); err != nil || !samePack(got, want) {
			t.Errorf("got %v, %v", got, err)
		}
		stored, deltas = deltas, stored
	}
	for name, deltas := range map[string]Pack{
		"amount without points": {entry(2, -1, "-5", "-0.4")},
		"fewer than none":       {entry(2, -2, "-5", "-0.5")},
		"never added":           {entry(3, -1, "-1", "-1")},
		"no points at all":      {entry(3, 0, "1", "0")},
	} {
		if _, err := Merge(nil, stored, deltas); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestGather(t *testing.T) {
	p := Gather([]Entry{entry(3, 1, "1", "2"), entry(1, 1, "5", "5"), entry(3, -1, "-1", "-2"), entry(1, 1, "1", "1")})
	if want := (Pack{entry(1, 2, "6", "6"), entry(3, 0, "0", "0")}); !samePack(p, want) {
		t.Errorf("got %v", p)
	}
	if p := Gather(nil); len(p) != 0 {
		t.Errorf("got %v", p)
	}
}

func TestUpdate(t *testing.T) {
	var u Updater
	one := Pack{entry(1, 1, "1.5", "2")}
	b, left, err := u.Update([]byte("x"), nil, one)
	if err != nil || left != 1 || !bytes.Equal(b, encode(t, one)) && b[0] != 'x' {
		t.Fatalf("got %x, %d, %v", b, left, err)
	}
	b, left, err = u.Update(nil, b[1:], Pack{entry(1, -1, "-1.5", "-2")})
	if err != nil || left != 0 || !bytes.Equal(b, encode(t, nil)) {
		t.Errorf("got %x, %d, %v", b, left, err)
	}
	if _, _, err = u.Update(nil, b, Pack{entry(1, -1, "0", "0")}); !errors.Is(err, ErrMismatch) {
		t.Errorf("got %v", err)
	}
	if _, _, err = u.Update(nil, []byte{}, one); !errors.Is(err, ErrDamaged) {
		t.Errorf("an empty text is no pack: got %v", err)
	}
	if _, _, err = u.Update(nil, encode(t, packs["full"]), one); !errors.Is(err, ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// decimals draws numbers of all lengths, mostly ordinary ones.
func decimals(r *rapid.T, label string) money.Decimal {
	digits := rapid.SampledFrom([]string{`\d{1,4}`, `\d{5,17}`, `\d{18,22}`, `\d{30,60}`}).Draw(r, label+" size")
	s := rapid.StringMatching(`-?`+digits).Draw(r, label)
	d := dec(s)
	places := rapid.SampledFrom([]int32{0, 2, 6, 12, 18, 30}).Draw(r, label+" places")
	return d.Mul(money.New(1, places))
}

func deltas(r *rapid.T, label string) Pack {
	ids := rapid.SliceOfNDistinct(rapid.Int64Range(0, 60), 0, 60, rapid.ID[int64]).Draw(r, label)
	var p Pack
	for _, id := range ids {
		p = append(p, Entry{id, Sums{rapid.Int64Range(-2, 5).Draw(r, "points"), decimals(r, "qty"), decimals(r, "price")}})
	}
	return Gather(p)
}

func atRest(r *rapid.T, label string) Pack {
	p := deltas(r, label)
	for i := range p {
		p[i].Points = 1 + p[i].Points&3
	}
	return p
}

// rat is a number in a representation that shares nothing with the package.
func rat(d money.Decimal) *big.Rat {
	r, ok := new(big.Rat).SetString(d.String())
	if !ok {
		panic(d.String())
	}
	return r
}

// TestUpdateEqualsSums holds an update of encoded packs against plain sums.
func TestUpdateEqualsSums(t *testing.T) {
	var u Updater
	rapid.Check(t, func(r *rapid.T) {
		stored, delta := atRest(r, "stored"), deltas(r, "deltas")
		type sums struct {
			points     int64
			qty, price big.Rat
		}
		want := map[int64]*sums{}
		for _, e := range append(stored[:len(stored):len(stored)], delta...) {
			s := want[e.Series]
			if s == nil {
				s = new(sums)
				want[e.Series] = s
			}
			s.points += e.Points
			s.qty.Add(&s.qty, rat(e.Qty))
			s.price.Add(&s.price, rat(e.Price))
		}
		sound := true
		for id, s := range want {
			switch {
			case s.points < 0 || s.points == 0 && (s.qty.Sign() != 0 || s.price.Sign() != 0):
				sound = false
			case s.points == 0:
				delete(want, id)
			}
		}
		before, err := stored.Encode(nil)
		if err != nil {
			r.Fatal(err)
		}
		after, left, err := u.Update(nil, before, delta)
		if !sound {
			if !errors.Is(err, ErrMismatch) {
				r.Fatalf("got %v", err)
			}
			return
		}
		if err != nil || left != len(want) {
			r.Fatalf("%d left, want %d; %v", left, len(want), err)
		}
		p, err := Decode(nil, after)
		if err != nil || p.check() != nil || len(p) != len(want) {
			r.Fatal(p, err)
		}
		for _, e := range p {
			s := want[e.Series]
			if s == nil || s.points != e.Points || s.qty.Cmp(rat(e.Qty)) != 0 || s.price.Cmp(rat(e.Price)) != 0 {
				r.Fatalf("series %d: got %v, want %v", e.Series, e, s)
			}
		}
		// taking the deltas away again leads back to the same bytes
		for i := range delta {
			d := &delta[i]
			d.Points, d.Qty, d.Price = -d.Points, d.Qty.Neg(), d.Price.Neg()
		}
		if back, _, err := u.Update(nil, after, delta); err != nil || !bytes.Equal(back, before) {
			r.Fatalf("back: %x, %v; want %x", back, err, before)
		}
	})
}

// FuzzDecode looks for bytes that panic, or that decode to something that does not come back. The checksum is put right,
// or hardly any input would get past it.
func FuzzDecode(f *testing.F) {
	for _, p := range packs {
		b := encode(f, p)
		f.Add(b[:len(b)-crc32.Size])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := Decode(nil, b); err != nil && (!errors.Is(err, ErrDamaged) || p != nil) {
			t.Fatal(p, err)
		}
		p, err := Decode(nil, seal(b...))
		if err != nil {
			return
		}
		if err := p.check(); err != nil {
			t.Fatal(err)
		}
		again, err := p.Encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		if q, err := Decode(nil, again); err != nil || !samePack(p, q) {
			t.Fatalf("got %v, %v; want %v", q, err, p)
		}
	})
}

// TestSize holds packs of ordinary data to the size that keeps them in a database's page.
func TestSize(t *testing.T) {
	for _, c := range []struct {
		name   string
		places int32
		n, max int
	}{
		{"100 series", 6, 100, 1350},
		{"full", 6, MaxSeries, 1800},
		{"full, qty of 18 decimals", money.QtyPlaces, MaxSeries, 2400},
	} {
		size := len(encode(t, month(c.n, c.places)))
		t.Logf("%s: %d bytes", c.name, size)
		if size > c.max {
			t.Errorf("%s: %d bytes, at most %d", c.name, size, c.max)
		}
	}
}

// month is a month's pack of ordinary data: quantities to 100 an hour, prices to 1 an hour with all decimals.
func month(n int, places int32) (p Pack) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		e := Entry{Series: 50_000 + int64(i)}
		for range 720 {
			hour := point(r, e.Series, places)
			e.Add(&hour.Sums)
		}
		p = append(p, e)
	}
	return p
}

// point is a delta of one charge.
func point(r *rand.Rand, series int64, places int32) Entry {
	fraction := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil)
	qty := money.New(r.Int64N(100), 0).Add(money.New(r.Int64N(fraction.Int64()), places))
	price := money.New(r.Int64N(1e12), money.PricePlaces)
	return Entry{series, Sums{1, qty, price}}
}

func benchPacks(b *testing.B, run func(b *testing.B, places int32)) {
	b.Run("6 decimals", func(b *testing.B) { run(b, 6) })
	b.Run("18 decimals", func(b *testing.B) { run(b, 18) })
}

func perEntry(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/entry")
}

func BenchmarkEncode(b *testing.B) {
	benchPacks(b, func(b *testing.B, places int32) {
		p := month(100, places)
		var buf []byte
		b.ReportAllocs()
		for b.Loop() {
			buf, _ = p.Encode(buf[:0])
		}
		perEntry(b, len(p))
	})
}

func BenchmarkDecode(b *testing.B) {
	benchPacks(b, func(b *testing.B, places int32) {
		bytes := encode(b, month(100, places))
		var p Pack
		b.ReportAllocs()
		for b.Loop() {
			p, _ = Decode(p[:0], bytes)
		}
		perEntry(b, len(p))
	})
}

func BenchmarkReader(b *testing.B) {
	benchPacks(b, func(b *testing.B, places int32) {
		bytes := encode(b, month(100, places))
		var r Reader
		var e Entry
		b.ReportAllocs()
		for b.Loop() {
			for r.Reset(bytes); r.Next(&e); {
			}
		}
		perEntry(b, 100)
	})
}

func BenchmarkMerge(b *testing.B) {
	benchPacks(b, func(b *testing.B, places int32) {
		p := month(100, places)
		var q Pack
		b.ReportAllocs()
		for b.Loop() {
			q, _ = Merge(q[:0], p, p)
		}
		perEntry(b, len(p))
	})
}

// BenchmarkUpdate is the commit path: decode, merge one point of each series, encode.
func BenchmarkUpdate(b *testing.B) {
	benchPacks(b, func(b *testing.B, places int32) {
		stored := encode(b, month(100, places))
		var deltas Pack
		r := rand.New(rand.NewPCG(3, 4))
		for i := range int64(100) {
			deltas = append(deltas, point(r, 50_000+i, places))
		}
		var u Updater
		var buf []byte
		b.ReportAllocs()
		for b.Loop() {
			buf, _, _ = u.Update(buf[:0], stored, deltas)
		}
		perEntry(b, len(deltas))
	})
}
