package script

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"ratebook/money"
)

// The protocol of the child process: messages of a length (four bytes, big endian) and as many bytes. Numbers are varints,
// texts have their length before them, amounts are texts.
//
//	request: n, n × (name, text), frame
//	answer:  0, frame    or    1, script, line, stopped, message
//	frame:   begin, end (seconds), zone, scope key, scope, attributes, n, n × (metric, unit, qty, price, priced, attributes, attributes)

// maxMessage bounds a message, and with it what one side makes the other remember.
const maxMessage = 512 << 20

var errDamaged = errors.New("the message is damaged")

type writer struct{ b []byte }

func (w *writer) number(n int64) { w.b = binary.AppendVarint(w.b, n) }

func (w *writer) text(s string) {
	w.b = binary.AppendUvarint(w.b, uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *writer) flag(is bool) {
	if is {
		w.b = append(w.b, 1)
		return
	}
	w.b = append(w.b, 0)
}

func (w *writer) decimal(d money.Decimal) {
	var buf [64]byte
	text := d.Append(buf[:0])
	w.b = binary.AppendUvarint(w.b, uint64(len(text)))
	w.b = append(w.b, text...)
}

func (w *writer) attributes(all []Attribute) {
	w.number(int64(len(all)))
	for _, a := range all {
		w.text(a.Name)
		w.text(a.Value)
	}
}

func (w *writer) frame(f *Frame) {
	w.number(f.Begin.Unix())
	w.number(f.End.Unix())
	w.text(f.Zone)
	w.text(f.ScopeKey)
	w.text(f.Scope)
	w.attributes(f.Computed)
	w.number(int64(len(f.Points)))
	for i := range f.Points {
		p := &f.Points[i]
		w.text(p.Metric)
		w.text(p.Unit)
		w.decimal(p.Qty)
		w.decimal(p.Price)
		w.flag(p.Priced)
		w.attributes(p.Groupby)
		w.attributes(p.Metadata)
	}
}

// reader reads what writer writes. After the first error it yields nothing but zeros.
type reader struct {
	b     []byte
	names map[string]string // texts that come again and again, once
	err   error
}

func (r *reader) fail() {
	r.b = nil
	if r.err == nil {
		r.err = errDamaged
	}
}

func (r *reader) number() int64 {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[size:]
	return n
}

// count reads how many things follow, each of so many bytes at least.
func (r *reader) count(size int) int {
	n := r.number()
	if n < 0 || n > int64(len(r.b)/size) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) bytes() []byte {
	n, size := binary.Uvarint(r.b)
	if size <= 0 || n > uint64(len(r.b)-size) {
		r.fail()
		return nil
	}
	b := r.b[size : size+int(n)]
	r.b = r.b[size+int(n):]
	return b
}

func (r *reader) text() string { return string(r.bytes()) }

// name reads a text that probably came before.
func (r *reader) name() string {
	b := r.bytes()
	if s, known := r.names[string(b)]; known {
		return s
	}
	s := string(b)
	if r.names == nil {
		r.names = map[string]string{}
	}
	if len(s) <= 64 && len(r.names) < 10_000 {
		r.names[s] = s
	}
	return s
}

func (r *reader) flag() bool {
	if len(r.b) == 0 || r.b[0] > 1 {
		r.fail()
		return false
	}
	is := r.b[0] == 1
	r.b = r.b[1:]
	return is
}

func (r *reader) decimal() money.Decimal {
	b := r.bytes()
	if r.err != nil {
		return money.Decimal{}
	}
	d, err := money.ParseBytes(b)
	if err != nil {
		r.fail()
	}
	return d
}

func (r *reader) attributes() []Attribute {
	n := r.count(2)
	if n == 0 {
		return nil
	}
	all := make([]Attribute, n)
	for i := range all {
		all[i] = Attribute{r.name(), r.name()}
	}
	return all
}

func (r *reader) frame() *Frame {
	f := &Frame{Begin: time.Unix(r.number(), 0).UTC(), End: time.Unix(r.number(), 0).UTC(), Zone: r.text(), ScopeKey: r.text(), Scope: r.text()}
	f.Computed = r.attributes()
	f.Points = make([]Point, r.count(leastPoint))
	for i := range f.Points {
		f.Points[i] = Point{
			Metric: r.name(), Unit: r.name(), Qty: r.decimal(), Price: r.decimal(), Priced: r.flag(), Groupby: r.attributes(), Metadata: r.attributes(),
		}
	}
	return f
}

// leastPoint is how many bytes a point has at least: an amount has a digit.
const leastPoint = 9

// request is what a child is asked.
type request struct {
	scripts []Source
	frame   *Frame
}

func (q *request) encode() []byte {
	w := writer{make([]byte, 4, 4096)}
	w.number(int64(len(q.scripts)))
	for _, s := range q.scripts {
		w.text(s.Name)
		w.text(s.Text)
	}
	w.frame(q.frame)
	return w.b
}

func decodeRequest(b []byte) (*request, error) {
	r := reader{b: b}
	q := &request{scripts: make([]Source, r.count(2))}
	for i := range q.scripts {
		q.scripts[i] = Source{r.text(), r.text()}
	}
	q.frame = r.frame()
	return q, r.end()
}

// end returns the error of what was read, if anything was wrong or is left.
func (r *reader) end() error {
	if len(r.b) > 0 {
		r.fail()
	}
	return r.err
}

func encodeAnswer(f *Frame, err error) []byte {
	w := writer{make([]byte, 4, 4096)}
	w.flag(err != nil)
	if err == nil {
		w.frame(f)
		return w.b
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = &Error{Message: err.Error()}
	}
	w.text(e.Script)
	w.number(int64(e.Line))
	w.flag(e.Stopped)
	w.text(e.Message)
	return w.b
}

func decodeAnswer(b []byte) (*Frame, error) {
	r := reader{b: b}
	if r.flag() {
		e := &Error{Script: r.text(), Line: int(r.number()), Stopped: r.flag(), Message: r.text()}
		if err := r.end(); err != nil {
			return nil, err
		}
		return nil, e
	}
	f := r.frame()
	if err := r.end(); err != nil {
		return nil, err
	}
	return f, nil
}

// send writes a message that begins with four bytes for its length.
func send(w io.Writer, b []byte) error {
	if len(b)-4 > maxMessage {
		return fmt.Errorf("a message of %d MiB is too long", len(b)>>20)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	_, err := w.Write(b)
	return err
}

// receive reads a message. The error is io.EOF if there is no more.
func receive(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxMessage {
		return nil, errDamaged
	}
	var b bytes.Buffer
	b.Grow(int(min(n, 1<<20))) // a message that is damaged may not be as long as it says
	if _, err := io.CopyN(&b, r, int64(n)); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return b.Bytes(), nil
}

// Serve runs scripts on frames as [Ask] asks for them, until there is no more to read.
func (i *Interpreter) Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	in = bufio.NewReader(in)
	for {
		b, err := receive(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		q, err := decodeRequest(b)
		if err != nil {
			return err
		}
		f, err := i.Run(ctx, q.scripts, q.frame)
		answer := encodeAnswer(f, err)
		if len(answer)-4 > maxMessage {
			answer = encodeAnswer(nil, &Error{Message: "the scripts left too much", Stopped: true})
		}
		if err := send(out, answer); err != nil {
			return err
		}
	}
}

// Ask has the other side of a connection, which is in [Interpreter.Serve], run scripts on a frame. An [Error] is the
// scripts'; after any other one the connection is of no use.
func Ask(in io.Writer, out io.Reader, scripts []Source, f *Frame) (*Frame, error) {
	if err := send(in, (&request{scripts, f}).encode()); err != nil {
		return nil, err
	}
	b, err := receive(out)
	if err != nil {
		return nil, err
	}
	return decodeAnswer(b)
}
