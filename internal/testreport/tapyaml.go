package testreport

import (
	"regexp"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// tapYAML reads the YAML block of a test point: its text, and the values that tools agree on. It does not resolve anything, so a block
// costs no more than its text.
type tapYAML struct {
	test   *tapTest
	indent int
	// block is the multi-line value that is being read, or nil; key and keyIndent are those of its key.
	block     *longText
	key       string
	keyIndent int
	// ended means that the block is complete.
	ended bool
}

// yamlKey matches a key and its value.
var yamlKey = regexp.MustCompile(`^(?:- )?["']?([A-Za-z_]\w*)["']?:(?:\s+(.*))?$`)

// line handles one line and reports whether it is part of the block.
func (y *tapYAML) line(line, content string, indent int) bool {
	if content == "" {
		y.add("")
		return true
	}
	if indent < y.indent {
		y.end()
		return false
	}
	if indent == y.indent && (content == "..." || content == "---") {
		y.end()
		return true
	}
	if y.block != nil && indent <= y.keyIndent {
		y.endBlock()
	}
	if y.block != nil {
		y.add(line[y.indent:])
		return true
	}
	m := yamlKey.FindStringSubmatch(content)
	if m == nil || m[1] != "duration_ms" {
		y.add(line[y.indent:])
	}
	if m == nil {
		return true
	}
	if strings.HasPrefix(m[2], "|") || strings.HasPrefix(m[2], ">") {
		y.block, y.key, y.keyIndent = newText(evidence.MaxMessage), m[1], indent
		return true
	}
	y.set(m[1], unquote(m[2]))
	return true
}

// add adds a line to the test's detail and to the open value.
func (y *tapYAML) add(line string) {
	y.test.detail.add([]byte(line + "\n"))
	if y.block != nil {
		y.block.add([]byte(strings.TrimSpace(line) + "\n"))
	}
}

func (y *tapYAML) endBlock() {
	if y.block != nil {
		y.set(y.key, y.block.String())
		y.block = nil
	}
}

func (y *tapYAML) end() {
	y.endBlock()
	y.ended = true
}

// set applies a value. The first of each kind counts.
func (y *tapYAML) set(key, value string) {
	t := y.test
	switch strings.ToLower(key) {
	case "message", "error", "failed":
		if t.message == "" {
			t.message = value
		}
	case "diff":
		if t.diff == "" {
			t.diff = value
		}
	case "duration_ms":
		if t.Seconds == 0 {
			t.Seconds = seconds(value) / 1000
		}
	case "location":
		if parts := strings.Split(value, ":"); t.File == "" && len(parts) >= 3 {
			t.File, t.Line = text.Head(strings.Join(parts[:len(parts)-2], ":"), maxName), lineNumber(parts[len(parts)-2])
		}
	case "file", "filename":
		if t.File == "" {
			t.File = text.Head(value, maxName)
		}
	case "line", "linenumber":
		if t.Line == 0 {
			t.Line = lineNumber(value)
		}
	}
}

// unquote removes the quotation marks of a value.
func unquote(s string) string {
	s = strings.TrimSpace(s)
	if len(s) >= 2 && (s[0] == '\'' || s[0] == '"') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}
