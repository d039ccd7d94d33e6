package compose

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// yamlWriter writes objects byte for byte as sigs.k8s.io/yaml does, which takes much longer: it writes JSON, reads that as YAML and writes
// YAML. TestYAML and FuzzYAML compare the two; only line separators of Unicode and byte order marks are escaped in another way.
type yamlWriter struct {
	out []byte
	err error
}

// maxSimpleKey is how long a key may be that stands before a colon.
const maxSimpleKey = 128

// mapping writes entries at an indent. The first one stands where the line has come to when inline is set.
func (w *yamlWriter) mapping(m map[string]any, indent int, inline bool) {
	keys := slices.Sorted(maps.Keys(m)) // The library's order alone has circles, such as 10, 9a, 9.
	slices.SortFunc(keys, compareKeys)
	for _, k := range keys {
		if !inline {
			w.spaces(indent)
		}
		inline = false
		if len(k) <= maxSimpleKey {
			w.text(k, noFold)
			w.out = append(w.out, ':')
		} else {
			w.out = append(w.out, "? "...)
			w.text(k, noFold)
			w.out = append(w.out, '\n')
			w.spaces(indent)
			w.out = append(w.out, ':')
		}
		w.member(m[k], indent)
	}
}

// member writes what stands after a key.
func (w *yamlWriter) member(v any, indent int) {
	switch v := v.(type) {
	case map[string]any:
		if len(v) > 0 {
			w.out = append(w.out, '\n')
			w.mapping(v, indent+2, false)
			return
		}
	case []any:
		if len(v) > 0 {
			w.out = append(w.out, '\n')
			w.list(v, indent)
			return
		}
	}
	w.out = append(w.out, ' ')
	w.scalar(v, indent)
}

func (w *yamlWriter) list(items []any, indent int) {
	for _, v := range items {
		w.spaces(indent)
		w.out = append(w.out, "- "...)
		if m, ok := v.(map[string]any); ok && len(m) > 0 {
			w.mapping(m, indent+2, true)
		} else {
			w.scalar(v, indent)
		}
	}
}

// scalar writes a value and ends the line.
func (w *yamlWriter) scalar(v any, indent int) {
	switch v := v.(type) {
	case nil:
		w.out = append(w.out, "null"...)
	case bool:
		w.out = strconv.AppendBool(w.out, v)
	case int64:
		w.out = strconv.AppendInt(w.out, v, 10)
	case string:
		w.text(v, indent+2)
	case map[string]any:
		w.out = append(w.out, "{}"...)
	case []any:
		if len(v) > 0 {
			w.err = fmt.Errorf("a list in a list")
		}
		w.out = append(w.out, "[]"...)
	default:
		w.err = fmt.Errorf("a value of type %T", v)
	}
	if !isBlock(v) {
		w.out = append(w.out, '\n')
	}
}

// isBlock says whether a text may end with the line that it is written on.
func isBlock(v any) bool {
	s, ok := v.(string)
	return ok && strings.HasSuffix(s, "\n") && styleOf(s) == literalStyle
}

func (w *yamlWriter) spaces(n int) {
	for range n {
		w.out = append(w.out, ' ')
	}
}

// style is how a string is written.
type style int

const (
	plainStyle style = iota
	singleStyle
	doubleStyle
	literalStyle
)

// noFold is the indent of keys, which stay on their line.
const noFold = -1

// text writes a string whose further lines stand at an indent.
func (w *yamlWriter) text(s string, indent int) {
	switch style := styleOf(s); style {
	case plainStyle:
		w.folded(s, style, indent)
	case singleStyle:
		w.out = append(w.out, '\'')
		w.folded(s, style, indent)
		w.out = append(w.out, '\'')
	case doubleStyle:
		w.out = append(w.out, '"')
		w.folded(s, style, indent)
		w.out = append(w.out, '"')
	case literalStyle:
		w.literal(s, indent)
	}
}

// bestWidth is how long a line gets before it is folded at a space.
const bestWidth = 80

func (w *yamlWriter) folded(s string, style style, indent int) {
	line := bytes.LastIndexByte(w.out, '\n') + 1
	spaces := false
	for i, r := range s {
		wide := r == ' ' && !spaces && indent != noFold && len(w.out)-line > bestWidth && utf8.RuneCount(w.out[line:]) > bestWidth
		next := i+1 < len(s) && s[i+1] == ' '
		spaces = r == ' '
		switch {
		case wide && i > 0 && i < len(s)-1 && (!next || style == doubleStyle):
			w.out = append(w.out, '\n')
			line = len(w.out)
			w.spaces(indent)
			if next {
				w.out = append(w.out, '\\')
			}
		case style == doubleStyle:
			w.escaped(r)
		case style == singleStyle && r == '\'':
			w.out = append(w.out, "''"...)
		default:
			w.out = utf8.AppendRune(w.out, r)
		}
	}
}

// traits are what a string has that says how it can be written. The names are those of libyaml's emitter.
type traits struct {
	special, breaks, spaceBreak, indicators bool
}

func traitsOf(s string) traits {
	t := traits{indicators: strings.HasPrefix(s, "---") || strings.HasPrefix(s, "...") || strings.ContainsRune("#,[]{}&*!|>'\"%@`", rune(s[0]))}
	before := '\n'
	for i, r := range s {
		// What follows a blank or stands before one counts as an indicator.
		ends := i+1 >= len(s) || s[i+1] == ' ' || s[i+1] == '\t'
		switch {
		case r == ':' && ends, i == 0 && (r == '?' || r == '-') && ends:
			t.indicators = true
		case r == '#' && i > 0 && strings.ContainsRune(" \t\r\n\x00\u0085\u2028\u2029", before):
			t.indicators = true
		}
		if isBreak(r) {
			t.breaks = true
			t.spaceBreak = t.spaceBreak || before == ' '
		}
		t.special = t.special || !isPrintable(r)
		before = r
	}
	return t
}

func isBreak(r rune) bool {
	return r == '\n' || r == '\r' || r == '\u0085' || r == '\u2028' || r == '\u2029'
}

// isPrintable is as in libyaml: characters beyond the first plane are not.
func isPrintable(r rune) bool {
	return r == '\n' || r >= ' ' && r <= '~' || r >= 0xa0 && r <= 0xd7ff || r >= 0xe000 && r <= 0xfffd && r != 0xfeff
}

func styleOf(s string) style {
	if s == "" {
		return doubleStyle
	}
	t := traitsOf(s)
	first, last := rune(s[0]), rune(s[len(s)-1])
	if strings.Contains(s, "\n") {
		if t.special || t.spaceBreak || last == ' ' {
			return doubleStyle
		}
		return literalStyle
	}
	switch {
	case !isString(s), t.special, t.breaks:
		return doubleStyle
	case t.indicators, first == ' ', last == ' ':
		return singleStyle
	}
	return plainStyle
}

var (
	yamlWords = strings.Fields(`y Y yes Yes YES true True TRUE on On ON n N no No NO false False FALSE off Off OFF ~ null Null NULL
		.nan .NaN .NAN .inf .Inf .INF +.inf +.Inf +.INF -.inf -.Inf -.INF`)
	yamlFloat  = regexp.MustCompile(`^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)
	yamlBase60 = regexp.MustCompile(`^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$`)
	yamlYear   = regexp.MustCompile(`^[0-9]{4}-`)
	yamlTimes  = []string{"2006-1-2T15:4:5.999999999Z07:00", "2006-1-2t15:4:5.999999999Z07:00", "2006-1-2 15:4:5.999999999", "2006-1-2"}
)

// isString says whether a plain s is a string to a reader of YAML 1.1.
func isString(s string) bool {
	switch c := s[0]; {
	case strings.IndexByte("yYnNtTfFoO~", c) >= 0:
		return !slices.Contains(yamlWords, s)
	case c == '.':
		_, err := strconv.ParseFloat(s, 64)
		return err != nil && !slices.Contains(yamlWords, s)
	case c == '+' || c == '-' || c >= '0' && c <= '9':
		return !slices.Contains(yamlWords, s) && !isNumber(s)
	}
	return true
}

func isNumber(s string) bool {
	digits := strings.ReplaceAll(s, "_", "")
	if _, err := strconv.ParseInt(digits, 0, 64); err == nil {
		return true
	}
	if _, err := strconv.ParseUint(digits, 0, 64); err == nil {
		return true
	}
	if _, err := strconv.ParseFloat(digits, 64); err == nil && yamlFloat.MatchString(digits) {
		return true
	}
	if sign, binary, ok := strings.Cut(digits, "0b"); ok && (sign == "" || sign == "-") {
		if _, err := strconv.ParseInt(sign+binary, 2, 64); err == nil {
			return true
		}
	}
	if yamlYear.MatchString(s) {
		for _, layout := range yamlTimes {
			if _, err := time.Parse(layout, s); err == nil {
				return true
			}
		}
	}
	return strings.Contains(s, ":") && yamlBase60.MatchString(s)
}

// escapes are those that YAML has a letter for.
var escapes = map[rune]byte{
	0: '0', 7: 'a', 8: 'b', 9: 't', 10: 'n', 11: 'v', 12: 'f', 13: 'r', 27: 'e', '"': '"', '\\': '\\', 0x85: 'N', 0x2028: 'L', 0x2029: 'P',
}

// escaped writes a character between double quotes.
func (w *yamlWriter) escaped(r rune) {
	letter, ok := escapes[r]
	switch {
	case ok:
		w.out = append(w.out, '\\', letter)
	case isPrintable(r):
		w.out = utf8.AppendRune(w.out, r)
	case r <= 0xff:
		w.out = fmt.Appendf(w.out, `\x%02X`, r)
	case r <= 0xffff:
		w.out = fmt.Appendf(w.out, `\u%04X`, r)
	default:
		w.out = fmt.Appendf(w.out, `\U%08X`, r)
	}
}

// literal writes lines as they stand.
func (w *yamlWriter) literal(s string, indent int) {
	w.out = append(w.out, '|')
	if s[0] == ' ' || s[0] == '\n' {
		w.out = append(w.out, '2')
	}
	switch body := strings.TrimSuffix(s, "\n"); {
	case body == s:
		w.out = append(w.out, '-')
	case body == "" || strings.HasSuffix(body, "\n"):
		w.out = append(w.out, '+')
	}
	w.out = append(w.out, '\n')
	for line := range strings.Lines(s) {
		if line != "\n" {
			w.spaces(indent)
		}
		w.out = append(w.out, line...)
	}
}

// compareKeys orders keys as the library does: numbers in them by their value, and what is no letter before letters.
func compareKeys(a, b string) int {
	x, y := []rune(a), []rune(b)
	for i := range min(len(x), len(y)) {
		if x[i] == y[i] {
			continue
		}
		xl, yl := unicode.IsLetter(x[i]), unicode.IsLetter(y[i])
		switch {
		case xl && yl:
			return int(x[i]) - int(y[i])
		case yl:
			return -1
		case xl:
			return 1
		}
		return compareDigits(x, y, i)
	}
	return len(x) - len(y)
}

// compareDigits compares keys that first differ at i, where neither has a letter.
func compareDigits(x, y []rune, i int) int {
	var xn, yn int64
	if x[i] == '0' || y[i] == '0' {
		for j := i - 1; j >= 0 && unicode.IsDigit(x[j]); j-- {
			if x[j] != '0' {
				xn, yn = 1, 1
				break
			}
		}
	}
	xi, yi := i, i
	for ; xi < len(x) && unicode.IsDigit(x[xi]); xi++ {
		xn = xn*10 + int64(x[xi]-'0')
	}
	for ; yi < len(y) && unicode.IsDigit(y[yi]); yi++ {
		yn = yn*10 + int64(y[yi]-'0')
	}
	switch {
	case xn < yn:
		return -1
	case xn > yn:
		return 1
	case xi != yi:
		return xi - yi
	}
	return int(x[i]) - int(y[i])
}
