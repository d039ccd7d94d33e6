package compose

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// yamlWriter writes what encoding/json takes of a value, under the same names in alphabetical order, as YAML that readers of 1.1 and 1.2
// take alike: a text that could be anything else to one of them stands in double quotes. Libraries for this write JSON first,
// read it and write it again, which took half of a conversion's time. TestYAML and FuzzYAML read it back.
type yamlWriter struct {
	out []byte
	err error
	// specOnly leaves an object's status out.
	specOnly bool
}

// object writes a value that is a mapping.
func (w *yamlWriter) object(v any) {
	if !w.mapping(w.settle(reflect.ValueOf(v)), 0, false) {
		w.out = append(w.out, "{}\n"...)
	}
}

// mapping writes the fields of a structure or the entries of a map at an indent, the first one where the line has come to when inline is
// set. It reports whether there were any.
func (w *yamlWriter) mapping(v reflect.Value, indent int, inline bool) bool {
	found := false
	entry := func(key string, v reflect.Value) {
		if indent == 0 && w.specOnly && key == "status" {
			return
		}
		if found || !inline {
			w.spaces(indent)
		}
		found = true
		w.line(key)
		w.out = append(w.out, ':')
		w.member(w.settle(v), indent)
	}
	if v.Kind() == reflect.Map {
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			entry(k.String(), v.MapIndex(k))
		}
		return found
	}
	for _, f := range layoutOf(v.Type()).fields {
		if member := v.FieldByIndex(f.index); !f.omits(member) {
			entry(f.name, member)
		}
	}
	return found
}

// member writes what stands after a key.
func (w *yamlWriter) member(v reflect.Value, indent int) {
	begin := len(w.out)
	switch {
	case isMapping(v):
		w.out = append(w.out, '\n')
		if !w.mapping(v, indent+2, false) {
			w.out = append(w.out[:begin], " {}\n"...)
		}
	case isList(v) && v.Len() > 0:
		w.out = append(w.out, '\n')
		w.list(v, indent)
	default:
		w.out = append(w.out, ' ')
		w.scalar(v, indent)
	}
}

func (w *yamlWriter) list(v reflect.Value, indent int) {
	for i := range v.Len() {
		w.spaces(indent)
		w.out = append(w.out, "- "...)
		switch item := w.settle(v.Index(i)); {
		case isMapping(item):
			if !w.mapping(item, indent+2, true) {
				w.out = append(w.out, "{}\n"...)
			}
		case isList(item) && item.Len() > 0:
			w.err = fmt.Errorf("a list in a list")
		default:
			w.scalar(item, indent)
		}
	}
}

// scalar writes a value and ends the line.
func (w *yamlWriter) scalar(v reflect.Value, indent int) {
	switch v.Kind() {
	case reflect.Invalid:
		w.out = append(w.out, "null"...)
	case reflect.String:
		switch s := v.String(); {
		case v.Type() == reflect.TypeFor[json.Number]():
			w.out = append(w.out, s...)
		case isBlock(s):
			w.block(s, indent+2)
			return
		default:
			w.line(s)
		}
	case reflect.Bool:
		w.out = strconv.AppendBool(w.out, v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		w.out = strconv.AppendInt(w.out, v.Int(), 10)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		w.out = strconv.AppendUint(w.out, v.Uint(), 10)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			w.line(base64.StdEncoding.EncodeToString(v.Bytes()))
		} else {
			w.out = append(w.out, "[]"...)
		}
	default:
		w.err = fmt.Errorf("a value of type %s", v.Type())
	}
	w.out = append(w.out, '\n')
}

func (w *yamlWriter) spaces(n int) {
	for range n {
		w.out = append(w.out, ' ')
	}
}

// line writes a text within its line.
func (w *yamlWriter) line(s string) {
	if isPlainText(s) {
		w.out = append(w.out, s...)
		return
	}
	w.out = append(w.out, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			w.out = append(w.out, '\\', byte(r))
		case r == '\n':
			w.out = append(w.out, `\n`...)
		case r == '\t':
			w.out = append(w.out, `\t`...)
		case isPrintable(r):
			w.out = utf8.AppendRune(w.out, r)
		default:
			w.out = fmt.Appendf(w.out, `\u%04x`, r)
		}
	}
	w.out = append(w.out, '"')
}

// block writes lines as they stand.
func (w *yamlWriter) block(s string, indent int) {
	w.out = append(w.out, '|')
	if s[0] == ' ' || s[0] == '\t' || s[0] == '\n' {
		w.out = append(w.out, '2')
	}
	switch body := strings.TrimSuffix(s, "\n"); {
	case body == s:
		w.out = append(w.out, '-')
	case strings.HasSuffix(body, "\n"):
		w.out = append(w.out, '+')
	}
	w.out = append(w.out, '\n')
	for line := range strings.Lines(s) {
		if line != "\n" {
			w.spaces(indent)
		}
		w.out = append(w.out, line...)
	}
	if s[len(s)-1] != '\n' {
		w.out = append(w.out, '\n')
	}
}

// isBlock reports whether a text is written as lines.
func isBlock(s string) bool {
	return strings.Contains(s, "\n") && strings.TrimSpace(s) != "" && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && r != '\t' && !isPrintable(r) })
}

// isPrintable reports whether a character may stand as it is within a line: https://yaml.org/spec/1.2.2/#51-character-set, without line
// breaks of YAML 1.1 and the byte order mark.
func isPrintable(r rune) bool {
	return r >= ' ' && r <= '~' || r >= 0xa0 && r <= 0xd7ff && r != 0x2028 && r != 0x2029 || r >= 0xe000 && r <= 0xfffd && r != 0xfeff || r >= 0x10000
}

// yamlWords are texts that mean something else to readers of YAML 1.1, whatever the case: https://yaml.org/type/
var yamlWords = []string{"y", "n", "yes", "no", "on", "off", "true", "false", "null"}

// isPlainText reports whether a text means itself to every reader without quotes. It is careful: not all that need none go without.
func isPlainText(s string) bool {
	if s == "" || s[len(s)-1] == ' ' || s[len(s)-1] == ':' || strings.Contains(s, ": ") || strings.Contains(s, " #") {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	switch first := strings.TrimLeft(s, "-./"); {
	case first == "" || len(s)-len(first) > 2:
		return s == "/" // Nothing but marks, or so many that they could end a document.
	case isLetter(first[0]):
		return !(len(s) == len(first) && len(s) <= len("false") && slices.ContainsFunc(yamlWords, func(word string) bool { return strings.EqualFold(word, s) })) &&
			!strings.EqualFold(first, "inf") && !strings.EqualFold(first, "nan")
	case first[0] >= '0' && first[0] <= '9':
		return strings.Trim(s, "0123456789abcdefABCDEFxXoOtTzZ.,:_+- ") != ""
	default:
		return first[0] == '$' || first[0] == '('
	}
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' }

func isMapping(v reflect.Value) bool { return v.Kind() == reflect.Struct || v.Kind() == reflect.Map }

func isList(v reflect.Value) bool {
	return v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8
}

// settle is what a value represents: what it points to, or what its own JSON says. It is invalid for nothing.
func (w *yamlWriter) settle(v reflect.Value) reflect.Value {
	for v.IsValid() {
		if k := v.Kind(); (k == reflect.Pointer || k == reflect.Interface) && v.IsNil() {
			return reflect.Value{}
		}
		switch {
		case v.Kind() == reflect.Interface:
			v = v.Elem()
		case layoutOf(v.Type()).marshals:
			return w.marshaled(v.Interface().(json.Marshaler))
		case v.Kind() == reflect.Pointer:
			v = v.Elem()
		default:
			return v
		}
	}
	return v
}

func (w *yamlWriter) marshaled(m json.Marshaler) reflect.Value {
	var out any
	data, err := m.MarshalJSON()
	switch {
	case err != nil:
	case len(data) > 0 && data[0] == '"':
		err = json.Unmarshal(data, &out)
	default:
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		err = d.Decode(&out)
	}
	if err != nil {
		w.err = err
	}
	return reflect.ValueOf(out)
}

// layout is how values of a type are written.
type layout struct {
	marshals bool
	fields   []layoutField
}

type layoutField struct {
	name                string
	index               []int
	omitEmpty, omitZero bool
}

var layouts sync.Map // of reflect.Type to *layout

func layoutOf(t reflect.Type) *layout {
	if s, ok := layouts.Load(t); ok {
		return s.(*layout)
	}
	s := &layout{marshals: t.Implements(reflect.TypeFor[json.Marshaler]())}
	if t.Kind() == reflect.Struct && !s.marshals {
		s.collect(t, nil)
		slices.SortFunc(s.fields, func(a, b layoutField) int { return strings.Compare(a.name, b.name) })
	}
	layouts.Store(t, s)
	return s
}

// collect adds the fields that encoding/json would write, those of embedded structures among them.
func (s *layout) collect(t reflect.Type, index []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		at := append(slices.Clone(index), i)
		switch {
		case f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct:
			s.collect(f.Type, at)
		case name != "-" && f.IsExported():
			if name == "" {
				name = f.Name
			}
			omit := strings.Split(options, ",")
			s.fields = append(s.fields, layoutField{name: name, index: at, omitEmpty: slices.Contains(omit, "omitempty"), omitZero: slices.Contains(omit, "omitzero")})
		}
	}
}

// omits reports whether a field is left out.
func (f *layoutField) omits(v reflect.Value) bool {
	if f.omitZero && v.IsZero() {
		return true
	}
	if !f.omitEmpty {
		return false
	}
	switch v.Kind() {
	case reflect.Struct:
		return false
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	default:
		return v.IsZero()
	}
}
