package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
)

func TestString(t *testing.T) {
	for _, tc := range []struct {
		name   string
		values []string
		in     string
		want   string
	}{
		{"plain", []string{"hunter22"}, "password is hunter22.", "password is ***."},
		{"short values stay", []string{"qa1"}, "qa1", "qa1"},
		{"four bytes are enough", []string{"qa12"}, "qa12", "***"},
		{"overlapping values", []string{"abcd", "cdef"}, "xabcdefx", "x***x"},
		{"a value in another", []string{"abcd", "xxabcdxx"}, "xxabcdx", "xx***x"},
		{"line by line", []string{"first line\nb\nsecond line\n"}, "1: first line\n2: b\n3: second line", "1: ***\n2: b\n3: ***"},
		{"only short lines", []string{"ab\ncd"}, "ab\ncd ab", "*** ab"},
		{"carriage returns", []string{"alpha\r\nbeta\r\n"}, "alpha beta", "*** ***"},
		{"trimmed", []string{"  hunter22\n"}, "[hunter22]", "[***]"},
		{"mask characters in a value", []string{"***a", "secret"}, "secreta", "!!!a"},
		{"no values", nil, "text", "text"},
		{"twice", []string{"pass"}, "passpass pass", "*** ***"},
	} {
		if got := New(tc.values...).String(tc.in); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestEncodings(t *testing.T) {
	const v = "s3cr/t+p?ss \"w\"rd"
	j, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"base64":       base64.StdEncoding.EncodeToString([]byte(v)),
		"base64 url":   base64.URLEncoding.EncodeToString([]byte(v)),
		"query":        url.QueryEscape(v),
		"path":         url.PathEscape(v),
		"small escape": strings.NewReplacer("%2F", "%2f", "%2B", "%2b", "%3F", "%3f").Replace(url.QueryEscape(v)),
		"json":         string(j),
		"hex":          fmt.Sprintf("%x", v),
	} {
		got := New(v).String(text)
		if got == text || !strings.Contains(got, "***") {
			t.Errorf("%s survives: %q", name, got)
		}
	}
	for _, user := range []string{"", "a:", "ab:", "abc:", "x-access-token:"} {
		text := base64.StdEncoding.EncodeToString([]byte(user + v + "tail"))
		got := New(v).String(text)
		digits, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(got, "***", ""))
		if !strings.Contains(got, "***") || err == nil && strings.Contains(string(digits), v[2:len(v)-2]) {
			t.Errorf("after %q the value survives in base64: %q", user, got)
		}
	}
}

func TestWriterMasksAcrossWrites(t *testing.T) {
	const text = "before hunter22 between huntress hunter2"
	for size := 1; size <= len(text); size++ {
		var out bytes.Buffer
		w := New("hunter22", "huntress").Writer(&out)
		for i := 0; i < len(text); i += size {
			piece := text[i:min(i+size, len(text))]
			if n, err := io.WriteString(w, piece); n != len(piece) || err != nil {
				t.Fatalf("wrote %d, %v", n, err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got, want := out.String(), "before *** between *** hunter2"; got != want {
			t.Errorf("in pieces of %d: %q, want %q", size, got, want)
		}
	}
}

func TestFinishedLinesAreNotHeldBack(t *testing.T) {
	var out bytes.Buffer
	w := New("line one\nline two").Writer(&out)
	if _, err := io.WriteString(w, "hello line\n"); err != nil {
		t.Fatal(err)
	}
	if out.String() != "hello line\n" {
		t.Errorf("a finished line is held back: %q", out.String())
	}
}

func TestReader(t *testing.T) {
	src := strings.Repeat("pad ", 20000) + "hunter22 " + strings.Repeat("pad ", 20000) + "hunter2"
	got, err := io.ReadAll(New("hunter22").Reader(iotest.HalfReader(strings.NewReader(src))))
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.ReplaceAll(src, "hunter22", "***"); string(got) != want {
		t.Errorf("%d bytes read, want %d", len(got), len(want))
	}
	broken := errors.New("broken")
	got, err = io.ReadAll(New("hunter22").Reader(io.MultiReader(strings.NewReader("a hunt"), iotest.ErrReader(broken))))
	if !errors.Is(err, broken) || string(got) != "a hunt" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := iotest.TestReader(New("hunter22").Reader(strings.NewReader("a hunter22 b")), []byte("a *** b")); err != nil {
		t.Error(err)
	}
}

func TestWriterPassesOnErrors(t *testing.T) {
	r, w := io.Pipe()
	if err := r.CloseWithError(io.ErrUnexpectedEOF); err != nil {
		t.Fatal(err)
	}
	if _, err := New("hunter22").Writer(w).Write([]byte("text")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
}

// FuzzString proves that no value survives, whole or in pieces, whatever the values and the text.
func FuzzString(f *testing.F) {
	f.Add("hunter22", "other", "a hunter22 otherhunter22", 3)
	f.Add("***a", "bbbb", "bbbba", 1)
	f.Add("ab\ncd", "\xa2abc", "ab\ncd\xe2\x80\xa2abc", 2)
	f.Add("aaaa", "aaaaab", "aaaaaaaab", 4)
	f.Fuzz(func(t *testing.T, a, b, text string, size int) {
		r := New(a, b)
		whole := r.String(text)
		for _, v := range []string{a, b} {
			if len(v) >= MinLength && strings.Contains(whole, v) {
				t.Errorf("%q survives in %q", v, whole)
			}
			if in := r.String(text + v + text); len(v) >= MinLength && strings.Contains(in, v) {
				t.Errorf("%q survives in %q", v, in)
			}
		}
		var out bytes.Buffer
		w := r.Writer(&out)
		size = max(1, size)
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			if _, err := io.WriteString(w, rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if out.String() != whole {
			t.Errorf("in pieces of %d: %q, whole: %q", size, out.String(), whole)
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	var values []string
	for i := range 50 {
		values = append(values, fmt.Sprintf("secret-value-%03d-%032x", i, i*7919))
	}
	r := New(values...)
	line := []byte(strings.Repeat("2026-01-01T00:00:00Z info request served in 12ms ", 20) + "\n")
	b.SetBytes(int64(len(line)))
	w := r.Writer(io.Discard)
	for b.Loop() {
		if _, err := w.Write(line); err != nil {
			b.Fatal(err)
		}
	}
}
