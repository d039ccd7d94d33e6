package testreport

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// dialect handles the elements of one XML format.
type dialect interface {
	// start handles the beginning of an element, which is not among the open ones yet, and returns what its text is added to, or nil.
	start(e xml.StartElement) *longText
	// end handles the end of an element, which is not among the open ones anymore.
	end(name string)
	// finish handles the end of the file.
	finish()
}

// document is an XML file.
type document struct {
	*file
	// elements are the open elements.
	elements []element
	// root is the name of the first element, or "".
	root string
	// report is set if the file contains an element of its format.
	report bool
}

// element is an open element. Its text is added to into, unless that is nil.
type element struct {
	name string
	into *longText
}

func (d *document) top() element {
	if len(d.elements) == 0 {
		return element{}
	}
	return d.elements[len(d.elements)-1]
}

// readXML reads a JUnit or TRX file, according to its first element.
func readXML(f *file, in *bufio.Reader) {
	head, _ := in.Peek(1 << 10) // The next read returns the error again.
	head = append([]byte(nil), head...)
	d := &document{file: f}
	var format dialect = &junit{document: d}
	decoder := xml.NewDecoder(&source{in: in})
	decoder.Strict = false
	// The source has already decoded the text.
	decoder.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	err := d.read(decoder, &format)
	format.finish()
	if err != nil {
		d.explain(err, head)
	}
}

// read passes the elements to a dialect, which the first element decides. It returns the error that ends the file.
func (d *document) read(decoder *xml.Decoder, format *dialect) error {
	for !d.done() {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		switch t := token.(type) {
		case xml.StartElement:
			if len(d.elements) == maxDepth {
				d.problem("Its elements are nested more than %d levels deep; the rest was not read", maxDepth)
				return nil
			}
			if d.root == "" {
				if d.root = t.Name.Local; isTRX(t.Name) {
					*format = newTRX(d)
				}
			}
			into := (*format).start(t)
			d.elements = append(d.elements, element{t.Name.Local, into})
		case xml.EndElement:
			// The decoder guarantees that an element is open.
			name := d.top().name
			d.elements = d.elements[:len(d.elements)-1]
			(*format).end(name)
		case xml.CharData:
			if into := d.top().into; into != nil {
				into.add(t)
			}
		}
	}
	return nil
}

// explain reports problems with the file as a whole.
func (d *document) explain(err error, head []byte) {
	switch {
	case len(bytes.TrimSpace(head)) == 0:
		d.problem("It is empty")
	case d.root == "":
		d.unknown("%s", describe(head))
	case !d.report:
		d.unknown("its first element is <%s>", label(d.root))
	case errors.Is(err, errLongTag):
		d.problem("It has a tag of more than %d KiB; the rest was not read", maxTag>>10)
	case !errors.Is(err, io.EOF) && len(d.elements) > 0:
		d.incomplete()
	case !errors.Is(err, io.EOF):
		d.problem("Its end is damaged")
	case d.count == 0:
		d.problem("It does not contain any test case")
	}
}

// attributes returns an element's attributes by local name.
func attributes(e xml.StartElement) map[string]string {
	all := make(map[string]string, len(e.Attr))
	for _, a := range e.Attr {
		if _, twice := all[a.Name.Local]; !twice {
			all[a.Name.Local] = a.Value
		}
	}
	return all
}

// first returns the first named attribute that is not empty.
func first(attrs map[string]string, names ...string) string {
	for _, n := range names {
		if attrs[n] != "" {
			return attrs[n]
		}
	}
	return ""
}

// isTRX reports whether an element is the root of a TRX file.
func isTRX(name xml.Name) bool {
	return name.Local == "TestRun" && (name.Space == "" || strings.Contains(name.Space, "microsoft.com/schemas/VisualStudio/TeamTest/"))
}
