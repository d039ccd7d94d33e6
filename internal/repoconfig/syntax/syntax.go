// Package syntax explains errors of the YAML library to the author of a file.
package syntax

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Problem returns the place and a description of an error that the YAML library found in data. Lines and columns start at 1; columns
// count characters.
//
// The library's positions are read by reflection, since the types of its errors are not exported. Its offset is used and not its line,
// which starts at 0 in some errors and at 1 in others. If that fails, the place is the beginning of the file.
func Problem(data []byte, err error) (line, column int, message string) {
	text := []rune(string(data))
	message = strings.TrimPrefix(err.Error(), "yaml: ")
	v := reflect.Indirect(reflect.ValueOf(err))
	if v.Kind() != reflect.Struct || !v.FieldByName("Mark").IsValid() || !v.FieldByName("Message").IsValid() {
		return 1, 1, message
	}
	mark := v.FieldByName("Mark")
	at := indexOf(mark)
	e := problem{text: text, at: at, message: v.FieldByName("Message").String()}
	if during := v.FieldByName("ContextMessage"); during.IsValid() {
		e.during, e.begin = during.String(), indexOf(v.FieldByName("ContextMark"))
	}
	if e.message = e.explain(); e.at > 0 || strings.HasPrefix(string(text), conflict) {
		line, column = position(text, e.at)
		return line, column, e.message
	}
	// Some errors have no offset.
	row, col := mark.FieldByName("Line"), mark.FieldByName("Column")
	if row.IsValid() && row.CanInt() && row.Int() > 0 && col.IsValid() {
		return int(row.Int()), max(1, int(col.Int())), e.message
	}
	return 1, 1, e.message
}

func indexOf(mark reflect.Value) int {
	if index := mark.FieldByName("Index"); index.IsValid() && index.CanInt() {
		return max(0, int(index.Int()))
	}
	return 0
}

// problem is one error: at is its offset, and begin that of what was read then, both in characters.
type problem struct {
	text            []rune
	at, begin       int
	message, during string
}

// conflict begins the line in which git marks the begin of a merge conflict.
const conflict = "<<<<<<<"

// explain returns the sentence for a problem, and may move it to its cause.
func (e *problem) explain() string {
	var next rune
	if e.at < len(e.text) {
		next = e.text[e.at]
	}
	begin, _ := position(e.text, e.begin)
	if i := strings.Index("\n"+string(e.text), "\n"+conflict); i >= 0 {
		e.at = utf8.RuneCountInString(string(e.text)[:i])
		return "a merge conflict is not resolved: this line begins with " + conflict
	}
	switch {
	case next == '\t' && e.message == "found character that cannot start any token", strings.Contains(e.message, "tab character"):
		return "a tab: YAML is indented with spaces"
	case e.message == "found character that cannot start any token":
		return fmt.Sprintf("a value cannot begin with %c: write it in quotes", next)
	case e.message == "mapping values are not allowed in this context":
		if key := e.findUnspaced(); key != "" {
			return fmt.Sprintf("a space is missing after %s", key)
		}
		return `a key is not expected here: check the indentation, and write a value that contains ": " in quotes`
	case e.message == "did not find expected key" && e.during == "while parsing a block mapping" && e.isFirst():
		return fmt.Sprintf("the indentation of this line does not fit: the keys since line %d are indented by %d", begin, e.columnOf(e.begin)-1)
	case e.message == "did not find expected '-' indicator":
		return fmt.Sprintf("the list that begins in line %d goes on here without \"- \": check the indentation, and do not mix keys with items of a list", begin)
	case e.message == "could not find expected ':'" && e.begin < len(e.text):
		e.at = e.begin
		return e.withoutColon()
	case e.message == "did not find expected key" && e.during == "while parsing a block mapping":
		return "the value before this has ended: check its quotes"
	case strings.HasSuffix(e.message, "unexpected end of stream") && strings.Contains(e.during, "quoted scalar") && e.begin < len(e.text):
		e.at = e.begin
		return fmt.Sprintf("the quote %c is not closed", e.text[e.begin])
	case strings.HasSuffix(e.message, "',' or ']'"):
		return fmt.Sprintf("a comma or ] is missing: the list begins with [ in line %d", begin)
	case strings.HasSuffix(e.message, "',' or '}'"):
		return fmt.Sprintf("a comma or } is missing: the mapping begins with { in line %d", begin)
	case e.message == "did not find expected node content" && strings.Contains(e.during, "flow"):
		return fmt.Sprintf("a value or a closing bracket is missing: the list or mapping begins in line %d", begin)
	case strings.HasPrefix(e.message, "unknown anchor '"):
		name, _, _ := strings.Cut(strings.TrimPrefix(e.message, "unknown anchor '"), "'")
		return fmt.Sprintf("the anchor &%s is not defined above: write a value that begins with * in quotes", name)
	}
	return e.message
}

// unspaced matches a key whose value follows without a space. It is not the beginning of a URL.
var unspaced = regexp.MustCompile(`^[ -]*([A-Za-z_][\w.-]*:)[^\s/]`)

// findUnspaced moves the error to the end of a key before it whose value follows without a space: both are read as one text. It returns the
// key with its colon, or "".
func (e *problem) findUnspaced() string {
	end := min(e.at, len(e.text))
	lines := strings.Split(string(e.text[:end]), "\n")
	for i := len(lines) - 2; i >= 0; i-- {
		end -= utf8.RuneCountInString(lines[i+1]) + 1
		if strings.TrimSpace(lines[i]) == "" {
			continue
		}
		m := unspaced.FindStringSubmatch(lines[i])
		if m == nil {
			return ""
		}
		e.at = end - utf8.RuneCountInString(lines[i]) + strings.Index(lines[i], m[1])
		return m[1]
	}
	return ""
}

// withoutColon explains a line that would be a key if a colon followed it.
func (e *problem) withoutColon() string {
	line, _, _ := strings.Cut(string(e.text[e.begin:]), "\n")
	if strings.ContainsRune(line, '\u00a0') {
		return "a non-breaking space (U+00A0): write an ordinary space"
	}
	return fmt.Sprintf("a colon and a space are missing in %q: a mapping has lines such as key: value", strings.TrimSpace(line))
}

// isFirst reports whether only blanks precede the error in its line.
func (e *problem) isFirst() bool {
	for i := min(e.at, len(e.text)) - 1; i >= 0 && e.text[i] != '\n'; i-- {
		if e.text[i] != ' ' {
			return false
		}
	}
	return true
}

func (e *problem) columnOf(n int) int {
	_, column := position(e.text, n)
	return column
}

// Position returns the line and column of the nth character. Lines and columns start at 1, n at 0. A position after the last line is
// reported as the end of the text.
func Position(data []byte, n int) (line, column int) {
	return position([]rune(string(data)), n)
}

func position(text []rune, n int) (line, column int) {
	if n >= len(text) {
		n = utf8.RuneCountInString(strings.TrimRight(string(text), " \t\r\n"))
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
