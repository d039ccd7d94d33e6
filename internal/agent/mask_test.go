package agent

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/w3evolutionsllc/conductor/internal/redact"
)

func masksOf(t testing.TB, values map[string]string) *masks {
	t.Helper()
	dir := t.TempDir()
	for name, v := range values {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(v), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, err := newMasks(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// written is a text after it went through a masking writer in pieces of the given lengths, over and over.
func written(t testing.TB, m *masks, text string, lengths []byte) string {
	var out bytes.Buffer
	w := m.writer(&out)
	for i := 0; len(text) > 0; i++ {
		n := len(text)
		if len(lengths) > 0 {
			n = min(n, int(lengths[i%len(lengths)])+1)
		}
		if _, err := w.Write([]byte(text[:n])); err != nil {
			t.Fatal(err)
		}
		text = text[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

const testKey = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIVATE KEY-----"

func FuzzMaskingIsTheSameInAnyPieces(f *testing.F) {
	m := masksOf(f, map[string]string{"password": "hunter2-\nsecond half", "short": "abab", "xml": `a<b>&"c"`})
	f.Add("user hunter2- and ababab\nsecond half "+testKey+" after\n", []byte{0, 3})
	f.Add("postgres://u:pw@db/x Authorization: Bearer abcdefghijklmnopqrstuvwxyz\r\n\n", []byte{7})
	f.Add(strings.Repeat("x", maxLine-3)+" ghp_abcdefghijklmnopqrstuvwxyz0123 abab", []byte{255, 1})
	f.Add(testKey[:40]+strings.Repeat("\nMIIE", 8000)+"\nabab\n", []byte{100})
	f.Add(`&lt;a&lt;b&gt;&amp;&#34;c&#34;`, []byte{1})
	f.Fuzz(func(t *testing.T, text string, lengths []byte) {
		whole, pieces := written(t, m, text, nil), written(t, m, text, lengths)
		if whole != pieces {
			t.Fatalf("in one piece %q, in pieces %q", whole, pieces)
		}
		if strings.Contains(whole, "hunter2-") || strings.Contains(whole, "abab") {
			t.Fatalf("a secret is left in %q", whole)
		}
	})
}

// What redact recognises by its shape has a hint in it, so that no line is passed by.
func FuzzHintsMissNoCredential(f *testing.F) {
	for _, s := range []string{
		"ghp_abcdefghijklmnopqrstuvwxyz0123", "github_pat_abcdefghijklmnopqrstuvwxyz", "npm_abcdefghijklmnopqrstuvwxyz01234567", "eyJabcdef.abcdef.x",
		"https://user:pw@host/", "authorization = Basic abcdef", "BEARER abcdefghijklmnopqrstuvwxyz", `"auth": "abcdef"`, `"identitytoken":"abcdef"`, `"password" : "abcdef"`, testKey,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l := lineMasker{}
		if redact.Token(s) != s && !l.suspicious([]byte(s)) {
			t.Fatalf("%q is masked, and has no hint", s)
		}
	})
}

func TestMasksReadASecretVolume(t *testing.T) {
	dir := t.TempDir()
	at := func(elem ...string) string { return filepath.Join(append([]string{dir}, elem...)...) }
	for _, d := range []string{at("db", "..2026_11_21"), at("later")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{at("db", "..data"): "..2026_11_21", at("db", "password"): "..data/password"} {
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	write := func(value string, name string) {
		if err := os.WriteFile(name, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("s3cr3t-one\n", at("db", "..2026_11_21", "password"))
	m, err := newMasks(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := m.writer(&out)
	line := "s3cr3t-one s3cr3t-two\n"
	must(t, w, line)
	write("s3cr3t-two", at("later", "token"))
	if err := m.reload(); err != nil {
		t.Fatal(err)
	}
	must(t, w, line)
	write("s3cr3t-three", at("db", "..2026_11_21", "password"))
	if err := m.reload(); err != nil {
		t.Fatal(err)
	}
	must(t, w, line)
	if want := "*** s3cr3t-two\n*** ***\n*** ***\n"; out.String() != want {
		t.Errorf("got %q, want %q: a secret is masked from when it is known, and for good", out.String(), want)
	}
}

func must(t *testing.T, w interface{ Write([]byte) (int, error) }, text string) {
	t.Helper()
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func TestPrivateKeysAreMaskedOverLines(t *testing.T) {
	m := masksOf(t, nil)
	for in, want := range map[string]string{
		"a\n" + testKey + "\nb\n":                             "a\n-----BEGIN RSA PRIVATE KEY-----***\n\nb\n",
		"x=" + testKey + " tail":                              "x=-----BEGIN RSA PRIVATE KEY-----***\n tail",
		testKey[:38] + "\n" + testKey[:38] + "\nend":          "-----BEGIN RSA PRIVATE KEY-----***\n",
		"see -----BEGIN CERTIFICATE-----\nMII\n":              "see -----BEGIN CERTIFICATE-----\nMII\n",
		strings.ReplaceAll(testKey, "\n", `\n`) + " on one\n": "-----BEGIN RSA PRIVATE KEY-----*** on one\n",
	} {
		if got := written(t, m, in, nil); got != want {
			t.Errorf("%q\n got %q\nwant %q", in, got, want)
		}
	}
}

func BenchmarkMasking(b *testing.B) {
	m := masksOf(b, map[string]string{"a": "s3cr3t-one", "b": "another-secret-value"})
	text := []byte(strings.Repeat("2026-11-21 INFO request GET /api/v1/items?id=42 took 12ms user=alice path=http://backend:3001/x\n"+
		"plain line of a test that says nothing special at all, as most do\n", 400))
	w := m.writer(writerFunc(func([]byte) {}))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := w.Write(text); err != nil {
			b.Fatal(err)
		}
	}
}
