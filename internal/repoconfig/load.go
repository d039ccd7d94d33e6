package repoconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// MaxSize is the size in bytes of the largest file that is read.
const MaxSize = 256 << 10

// Parse reads a .conductor.yaml. Its error is an *Errors that holds every problem found, each with its line and column;
// name is the file that they name. It never panics.
func Parse(name string, data []byte) (*Config, error) {
	d := decoder{file: name}
	c := &Config{Path: name}
	if root := d.load(data); root != nil {
		d.value(root, reflect.ValueOf(c).Elem(), place{})
		d.attempts(root, c)
	}
	if err := sorted(d.errs); err != nil {
		return nil, err
	}
	return c, nil
}

// MaxAttempts is how often the suites of one file are executed at most, all shards and retries of all of them together: a Run lists
// them all, and each has a Job of its own.
const MaxAttempts = 256

// attempts adds a problem when the suites may make too many.
func (d *decoder) attempts(root *yaml.Node, c *Config) {
	all, largest := 0, ""
	for _, name := range c.Suites() {
		if all += c.Tests[name].attempts(); largest == "" || c.Tests[name].attempts() > c.Tests[largest].attempts() {
			largest = name
		}
	}
	if all <= MaxAttempts {
		return
	}
	at := root
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == "tests" {
			at = root.Content[i]
		}
	}
	t := c.Tests[largest]
	d.wrong(at, place{path: "tests"}, "The suites may make %d attempts together, shards x (retry + 1) each, and at most %d are allowed. %s alone may make %d x %d = %d",
		all, MaxAttempts, largest, t.Shards, t.Retry+1, t.attempts())
}

// load reads the one document of a file; nil when there is a problem.
func (d *decoder) load(data []byte) (root *yaml.Node) {
	if len(data) > MaxSize {
		d.fail(1, 1, "", "The file has %d KiB; at most %d KiB are read", (len(data)+1023)>>10, MaxSize>>10)
		return nil
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if i, what := unreadable(data); i >= 0 {
		line, column := position(data, utf8.RuneCount(data[:i]))
		d.fail(line, column, "", "%s", what)
		return nil
	}
	defer func() {
		if r := recover(); r != nil {
			d.fail(1, 1, "", "The file is not YAML that can be read")
			root = nil
		}
	}()
	documents := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	if err := documents.Decode(&first); errors.Is(err, io.EOF) {
		d.fail(1, 1, "", "The file is empty; the least is a version and a test")
		return nil
	} else if err != nil {
		d.syntax(data, err)
		return nil
	}
	switch err := documents.Decode(&second); {
	case err == nil:
		d.fail(second.Line, second.Column, "", "A second document begins here; a file has one")
		return nil
	case !errors.Is(err, io.EOF):
		d.syntax(data, err)
		return nil
	}
	if root = first.Content[0]; root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		d.fail(1, 1, "", "The file is empty; the least is a version and a test")
		return nil
	}
	return root
}

// unreadable is where a file holds what no YAML file may, and what that is; -1 when it does not. YAML 1.2.2, 5.1.
func unreadable(data []byte) (int, string) {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return i, "This byte is not UTF-8"
		case unicode.IsControl(r) && r != '\t' && r != '\n' && r != '\r' && r != '\u0085', r == '\ufffe', r == '\uffff':
			return i, fmt.Sprintf("The control character %U cannot be here", r)
		}
		i += size
	}
	return -1, ""
}

// syntax adds a problem that the YAML library found. Its errors are types that cannot be named from outside, so their
// fields are looked up; where that fails, the message is told without its place.
func (d *decoder) syntax(data []byte, err error) {
	line, column, message := 1, 1, strings.TrimPrefix(err.Error(), "yaml: ")
	v := reflect.Indirect(reflect.ValueOf(err))
	if v.Kind() == reflect.Struct {
		mark, text := v.FieldByName("Mark"), v.FieldByName("Message")
		if mark.IsValid() && text.IsValid() {
			index, row, col := mark.FieldByName("Index"), mark.FieldByName("Line"), mark.FieldByName("Column")
			switch {
			case index.IsValid() && index.Int() > 0:
				line, column = position(data, int(index.Int()))
			case row.IsValid() && row.Int() > 0 && col.IsValid():
				line, column = int(row.Int()), max(1, int(col.Int()))
			}
			message = text.String()
		}
	}
	d.fail(line, column, "", "This is not YAML: %s", message)
}

// position is the line and column of the nth character, all from 1 but n from 0. A place behind the last line is told as
// the end of the text.
func position(data []byte, n int) (line, column int) {
	text := []rune(string(data))
	n = min(n, len(text))
	if n == len(text) {
		n = len(strings.TrimRight(string(data), " \t\r\n"))
		n = utf8.RuneCountInString(string(data)[:n])
	}
	line, column = 1, 1
	for i, r := range text[:n] {
		switch {
		case r == '\n', r == '\r' && (i+1 == len(text) || text[i+1] != '\n'):
			line, column = line+1, 1
		default:
			column++
		}
	}
	return line, column
}
