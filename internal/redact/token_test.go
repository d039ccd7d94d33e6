package redact

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// Made up, and put together here so that no scanner takes them for real ones.
var (
	digits36 = strings.Repeat("a1B2c3", 6)
	jwt      = "eyJ" + "hbGciOiJSUzI1NiJ9." + "eyJ" + "pc3MiOiIxMjM0NSJ9." + digits36
	pem      = "-----BEGIN RSA " + "PRIVATE KEY-----"
)

func TestToken(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"installation token", "token ghs_" + digits36 + " used", "token *** used"},
		{"installation token with a JWT", "ghs_12345_" + jwt, "***"},
		{"in a word", "TOKEN_ghp_" + digits36, "TOKEN_***"},
		{"personal token", "ghp_" + digits36, "***"},
		{"oauth and refresh", "gho_" + digits36 + ",ghr_" + digits36 + ",ghu_" + digits36, "***,***,***"},
		{"fine-grained token", "github_pat_11ABC_" + digits36, "***"},
		{"npm", "//registry.example.com/:_authToken=npm_" + digits36, "//registry.example.com/:_authToken=***"},
		{"JWT", "jwt=" + jwt + ";", "jwt=***;"},
		{"URL with password", "clone https://x-access-token:abc123@github.com/a/b.git", "clone https://***@github.com/a/b.git"},
		{"URL with token only", "https://abc@host/x", "https://***@host/x"},
		{"URL with @ in the password", "redis://:p@ss@redis:6379/0", "redis://***@redis:6379/0"},
		{"URL without", "https://github.com/a/b?x=y@z", "https://github.com/a/b?x=y@z"},
		{"archive address", "GET https://codeload.github.com/a/b/legacy.tar.gz/c?token=AAQXYZ 502", "GET https://codeload.github.com/a/b/legacy.tar.gz/c?token=*** 502"},
		{"presigned address", "https://s3/x?X-Amz-Date=1&X-Amz-Signature=abcdef0123&x=y", "https://s3/x?X-Amz-Date=1&X-Amz-Signature=***&x=y"},
		{"query in JSON", `{"url":"/a?b=c\u0026access_token=abcdef\u0026d=e"}`, `{"url":"/a?b=c\u0026access_token=***\u0026d=e"}`},
		{"query in HTML", "/a?b=c&amp;API_KEY=abcdef&amp;d=e", "/a?b=c&amp;API_KEY=***&amp;d=e"},
		{"no credential in the query", "/a?config=abcdef&design=abcdef&tokens=abcdef&token=", "/a?config=abcdef&design=abcdef&tokens=abcdef&token="},
		{"mail address", "mail me@example.com", "mail me@example.com"},
		{"basic header", "Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic ***"},
		{"bearer header", `"authorization": "Bearer abcdef"`, `"authorization": "Bearer ***"`},
		{"token header", "authorization: token abcdef", "authorization: token ***"},
		{"bearer alone", "bearer " + digits36 + "==", "bearer ***"},
		{"the word bearer", "the bearer of this", "the bearer of this"},
		{"key", pem + "\nMIIE\nabcd\n-----END RSA " + "PRIVATE KEY-----\nafter", pem + "***\nafter"},
		{"key that was cut", "x " + pem + "\nMIIE", "x " + pem + "***"},
		{"docker config", `{"auths":{"r":{"auth": "dXNlcjpwYXNz"}}}`, `{"auths":{"r":{"auth": "***"}}}`},
		{"commit", strings.Repeat("a1b2", 10), strings.Repeat("a1b2", 10)},
		{"plain log line", "GET /api/v1/users?page=2 200 12ms", "GET /api/v1/users?page=2 200 12ms"},
	} {
		if got := Token(tc.in); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func FuzzToken(f *testing.F) {
	for _, s := range []string{"", "a ghs_" + digits36, "https://a:b@c", jwt, pem + "\nx", `"auth":"abcd"`} {
		f.Add(s, "x")
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		if out := Token(before + " ghs_" + digits36 + " " + after); strings.Contains(out, "ghs_"+digits36) {
			t.Errorf("the token survives in %q", out)
		}
	})
}

// unmarked is Token without its look for marks.
func unmarked(s string) string {
	for i, shape := range shapes {
		s = shape.pattern.ReplaceAllString(s, replacements[i])
	}
	return s
}

// TestMarksHideNothing: what the patterns alone would mask is masked, in any spelling that they take.
func TestMarksHideNothing(t *testing.T) {
	pieces := []string{
		"gh" + "s_", "github" + "_pat_", "npm" + "_", "ey" + "J", "https://", "user:hunter2hunter2@", "AuthoriZation: Bearer ", "bearer ", "&x_toKen=", "?ſig=", "\\u0026api_key=",
		`"identitytoken": "`, `"auth":"`, pem, strings.Replace(pem, "BEGIN", "END", 1), strings.Repeat("a1B2", 12), ".", " ", "\n", "=", "é", "K",
	}
	seeded := rand.New(rand.NewPCG(1, 2))
	masked := 0
	for range 20_000 {
		var b strings.Builder
		for range 1 + seeded.IntN(8) {
			b.WriteString(pieces[seeded.IntN(len(pieces))])
		}
		want := unmarked(b.String())
		if got := Token(b.String()); got != want {
			t.Fatalf("%q is masked as %q, and the patterns alone make it %q", b.String(), got, want)
		}
		if want != b.String() {
			masked++
		}
	}
	if masked < 5000 {
		t.Errorf("only %d of the texts have anything to mask", masked)
	}
}

// BenchmarkTokenInATrace is what a failing test's trace costs: the agent masks megabytes of them for one suite.
func BenchmarkTokenInATrace(b *testing.B) {
	trace := strings.Repeat("    at checkout.place (src/checkout.js:42:7)\n", 340)
	b.SetBytes(int64(len(trace)))
	for b.Loop() {
		Token(trace)
	}
}
