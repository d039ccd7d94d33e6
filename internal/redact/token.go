package redact

import (
	"regexp"
	"slices"
	"strings"
)

// shape is a kind of secret that is recognized by its format.
type shape struct {
	// marks are lower-case substrings, one of which is in every text that contains such a secret. Searching for them is a hundred times
	// faster than matching the pattern, and most texts contain none.
	marks []string
	// pattern matches the secret. Its first group stays readable.
	pattern *regexp.Regexp
}

var shapes = []shape{
	// A private key in PEM (RFC 7468), up to its end or that of the text.
	{[]string{"private key-----"}, regexp.MustCompile(`(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)`)},
	// GitHub's tokens: "Behind GitHub's new authentication token formats", github.blog, 2021; installation tokens
	// may hold a JWT with its dots.
	{[]string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_"}, regexp.MustCompile(`()gh[pousr]_[A-Za-z0-9_.\-]{20,}`)},
	{[]string{"github_pat_"}, regexp.MustCompile(`()github_pat_[A-Za-z0-9_]{20,}`)},
	// npm's access tokens.
	{[]string{"npm_"}, regexp.MustCompile(`()npm_[A-Za-z0-9]{30,}`)},
	// A JSON Web Token (RFC 7519): its first part is the base64 encoding of {" and more.
	{[]string{"eyj"}, regexp.MustCompile(`()eyJ[A-Za-z0-9_\-]{5,}\.[A-Za-z0-9_\-]{5,}(?:\.[A-Za-z0-9_\-]*)?`)},
	// User information in a URL (RFC 3986, 3.2.1): a password or a token.
	{[]string{"://"}, regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.\-]*://)[^\s/?#"'<>]+@`)},
	// The Authorization header (RFC 9110, 11.6.2), and a bearer token on its own.
	{[]string{"authorization"}, regexp.MustCompile(`(?i)(\bauthorization["']?\s*[:=]\s*["']?(?:[a-z]+\s+)?)[^\s"',]{4,}`)},
	{[]string{"bearer"}, regexp.MustCompile(`(?i)(\bbearer\s+)[a-z0-9._~+/\-]{20,}=*`)},
	// A credential in a URL's query, such as in GitHub's archive URLs or a presigned S3 URL; & may be escaped as in JSON or HTML.
	{
		[]string{"token=", "signature=", "sig=", "secret=", "password=", "apikey=", "api_key="},
		regexp.MustCompile(`(?i)((?:[?&;]|\\u0026)[a-z0-9_.\-]*(?:token|signature|sig|secret|password|api_?key)=)[^\s&#"'<>\\]{4,}`),
	},
	// The credential of a Docker config.json.
	{[]string{`"auth"`, `"identitytoken"`, `"password"`}, regexp.MustCompile(`("(?:auth|identitytoken|password)"\s*:\s*")[^"]{4,}`)},
}

// folded maps letters that case-insensitive patterns treat as equal to the same letter (Unicode's simple folding: the Kelvin sign
// equals k, and the long s equals s).
func folded(s string) string { return strings.ToLower(strings.ToUpper(s)) }

// replacements keep the @ that follows user information in a URL.
var replacements = func() []string {
	out := make([]string, len(shapes))
	for i, s := range shapes {
		out[i] = "${1}***"
		if p := s.pattern.String(); p[len(p)-1] == '@' {
			out[i] += "@"
		}
	}
	return out
}()

// Token masks everything in s that is shaped like a credential: GitHub tokens, JSON Web Tokens, user information and credentials in
// URLs, Authorization headers, private keys and Docker credentials. Apply it to every log line and every text that leaves Conductor.
func Token(s string) string {
	low := folded(s)
	for i, shape := range shapes {
		if slices.ContainsFunc(shape.marks, func(mark string) bool { return strings.Contains(low, mark) }) {
			s = shape.pattern.ReplaceAllString(s, replacements[i])
		}
	}
	return s
}
