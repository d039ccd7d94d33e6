package evidence

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// WriteResult writes result.json. It writes suites and cases one by one, as the last field of their object, so that the file is never
// in memory as a whole.
func WriteResult(w io.Writer, r Result) error {
	out := &resultWriter{w: bufio.NewWriter(w)}
	suites := r.Suites
	r.Suites = nil
	out.object(r, "", "suites", len(suites), func(i int, indent string) {
		cases := suites[i].Cases
		suite := suites[i]
		suite.Cases = nil
		out.object(suite, indent, "cases", len(cases), func(i int, indent string) { out.value(cases[i], indent) })
	})
	out.text("\n")
	if out.err == nil {
		out.err = out.w.Flush()
	}
	if out.err != nil {
		return fmt.Errorf("write the result: %w", out.err)
	}
	return nil
}

// resultWriter keeps the first error.
type resultWriter struct {
	w   *bufio.Writer
	err error
}

func (o *resultWriter) text(s string) {
	if o.err == nil {
		_, o.err = o.w.WriteString(s)
	}
}

// value writes one value with indentation.
func (o *resultWriter) value(v any, indent string) { o.open(v, indent, "") }

// open writes a value without the given end.
func (o *resultWriter) open(v any, indent, end string) {
	if o.err != nil {
		return
	}
	var data []byte
	if data, o.err = json.MarshalIndent(v, indent, "  "); o.err == nil {
		_, o.err = o.w.Write(bytes.TrimSuffix(data, []byte(end)))
	}
}

// object writes an object whose last field is a list of n elements. It omits an empty list.
func (o *resultWriter) object(v any, indent, list string, n int, element func(i int, indent string)) {
	if n == 0 {
		o.value(v, indent)
		return
	}
	end := "\n" + indent + "}"
	o.open(v, indent, end)
	o.text(",\n" + indent + `  "` + list + `": [`)
	for i := range n {
		if i > 0 {
			o.text(",")
		}
		o.text("\n" + indent + "    ")
		element(i, indent+"    ")
	}
	o.text("\n" + indent + "  ]" + end)
}
