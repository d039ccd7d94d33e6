package repoconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/w3evolutionsllc/conductor/internal/repoconfig/syntax"
)

// MaxSize is the maximum size of a file, in bytes.
const MaxSize = 256 << 10

// Parse reads a .conductor.yaml. Its error is an *Errors with every problem found, each with its line and column; name is the file name
// in messages. Parse never panics.
func Parse(name string, data []byte) (*Config, error) {
	d := decoder{file: name, lines: map[string]mark{}}
	if len(data) <= MaxSize {
		d.source = linesOf(data)
	}
	c := &Config{Path: name, lines: d.lines, source: d.source}
	if root := d.load(data); root != nil {
		d.value(root, reflect.ValueOf(c).Elem(), place{})
		d.attempts(root, c)
	}
	if err := Join(d.errs); err != nil {
		return nil, err
	}
	return c, nil
}

// MaxAttempts is the most executions of a file's suites, including all shards and retries: a Run lists all of them, and each is a Job.
const MaxAttempts = 256

// attempts adds a problem if the suites may make too many attempts.
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
	d.wrong(at, place{path: "tests"}, "the suites may make %d attempts in total (shards x (retry + 1) each), but the limit is %d. Suite %s alone may make %d x %d = %d",
		all, MaxAttempts, largest, t.Shards, t.Retry+1, t.attempts())
}

// load reads the only document of a file; nil if there is a problem.
func (d *decoder) load(data []byte) (root *yaml.Node) {
	if len(data) > MaxSize {
		d.fail(1, 1, "", "the file is too large: %d KiB, the limit is %d KiB", (len(data)+1023)>>10, MaxSize>>10)
		return nil
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if i, what := unreadable(data); i >= 0 {
		line, column := syntax.Position(data, utf8.RuneCount(data[:i]))
		d.fail(line, column, "", "%s", what)
		return nil
	}
	defer func() {
		if r := recover(); r != nil {
			d.fail(1, 1, "", "invalid YAML")
			root = nil
		}
	}()
	documents := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	if err := documents.Decode(&first); errors.Is(err, io.EOF) {
		d.empty()
		return nil
	} else if err != nil {
		d.syntax(data, err)
		return nil
	}
	switch err := documents.Decode(&second); {
	case err == nil:
		d.fail(second.Line, second.Column, "", "a second document begins here; only one is allowed")
		return nil
	case !errors.Is(err, io.EOF):
		d.syntax(data, err)
		return nil
	}
	if root = first.Content[0]; root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		d.empty()
		return nil
	}
	return root
}

// empty adds the problem that the file is empty.
func (d *decoder) empty() {
	d.errs = append(d.errs, Error{
		File: d.file, Line: 1, Column: 1, Message: "the file is empty; it needs at least a version and a test", Mended: Minimal(AnyCommand),
	})
}

// unreadable returns the offset and a description of a character that YAML forbids; -1 if there is none. YAML 1.2.2, 5.1.
func unreadable(data []byte) (int, string) {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return i, "invalid UTF-8"
		case unicode.IsControl(r) && r != '\t' && r != '\n' && r != '\r' && r != '\u0085', r == '\ufffe', r == '\uffff':
			return i, fmt.Sprintf("the control character %U is not allowed", r)
		}
		i += size
	}
	return -1, ""
}

// syntax adds an error of the YAML library.
func (d *decoder) syntax(data []byte, err error) {
	line, column, message := syntax.Problem(data, err)
	d.fail(line, column, "", "invalid YAML: %s", message)
}
