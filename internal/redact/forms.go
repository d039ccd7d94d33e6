package redact

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
)

// forms returns the texts that reveal a value. The lines of a multi-line value replace the value itself, unless all of them are too
// short: logs are processed by line, and a form without a newline never holds back a complete line.
func forms(value string) []string {
	var out []string
	add := func(s string) {
		if len(s) >= MinLength {
			out = append(out, s)
		}
	}
	lines := strings.FieldsFunc(value, func(r rune) bool { return r == '\n' || r == '\r' })
	for _, l := range lines {
		add(l)
		add(strings.TrimSpace(l))
	}
	if len(out) == 0 {
		add(value)
	}
	if len(value) < MinLength {
		return out
	}
	for _, v := range []string{value, strings.TrimSpace(value)} {
		if len(v) >= MinLength {
			for _, f := range encodings(v) {
				add(f)
			}
		}
	}
	return out
}

// encodings returns a value's encoded forms.
func encodings(v string) []string {
	out := aligned(v)
	for _, esc := range []string{url.QueryEscape(v), url.PathEscape(v)} {
		out = append(out, esc, lowerEscapes(esc))
	}
	out = append(out, hex.EncodeToString([]byte(v)), strings.ToUpper(hex.EncodeToString([]byte(v))))
	out = append(out, jsonString(v, true), jsonString(v, false))
	for i, f := range out {
		if strings.ContainsAny(f, "\r\n") {
			out[i] = ""
		}
	}
	return out
}

// aligned returns the base64 digits that depend only on v, for each of the three offsets in a group at which v may start: the encoding
// of "user:"+v contains one of them.
func aligned(v string) []string {
	var out []string
	for shift := range 3 {
		padded := append(make([]byte, shift), v...)
		skip := (shift*8 + 5) / 6
		keep := len(padded) * 8 / 6
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			if digits := enc.EncodeToString(padded); keep > skip {
				out = append(out, digits[skip:keep])
			}
		}
	}
	return out
}

// jsonString returns v as the content of a JSON string. Some encoders also escape <, > and &.
func jsonString(v string, html bool) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(html)
	if err := enc.Encode(v); err != nil {
		return ""
	}
	return strings.TrimSuffix(b.String(), "\"\n")[1:]
}

// lowerEscapes converts %2F to %2f, which is as common.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:], strings.ToLower(string(b[i+1:i+3])))
			i += 2
		}
	}
	return string(b)
}
