package redact

import (
	"regexp"
	"slices"
	"strings"
)

// shape is a secret that is known by how it looks.
type shape struct {
	// marks are pieces in lower case of which each text with such a secret has one. Looking for them is a hundred times faster than the
	// pattern, and most texts have none.
	marks []string
	// pattern matches the secret; what its first group holds stays readable.
	pattern *regexp.Regexp
}

var shapes = []shape{
	// A private key in PEM (RFC 7468), to its end or the text's.
	{[]string{"private key-----"}, regexp.MustCompile(`(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)`)},
	// GitHub's tokens: "Behind GitHub's new authentication token formats", github.blog, 2021; installation tokens
	// may hold a JWT with its dots.
	{[]string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_"}, regexp.MustCompile(`()gh[pousr]_[A-Za-z0-9_.\-]{20,}`)},
	{[]string{"github_pat_"}, regexp.MustCompile(`()github_pat_[A-Za-z0-9_]{20,}`)},
	// npm's access tokens.
	{[]string{"npm_"}, regexp.MustCompile(`()npm_[A-Za-z0-9]{30,}`)},
	// A JSON Web Token (RFC 7519): its first part is base64 of {" and more.
	{[]string{"eyj"}, regexp.MustCompile(`()eyJ[A-Za-z0-9_\-]{5,}\.[A-Za-z0-9_\-]{5,}(?:\.[A-Za-z0-9_\-]*)?`)},
	// User information in a URL (RFC 3986, 3.2.1): a password or a token.
	{[]string{"://"}, regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.\-]*://)[^\s/?#"'<>]+@`)},
	// The Authorization header (RFC 9110, 11.6.2), and a bearer token on its own.
	{[]string{"authorization"}, regexp.MustCompile(`(?i)(\bauthorization["']?\s*[:=]\s*["']?(?:[a-z]+\s+)?)[^\s"',]{4,}`)},
	{[]string{"bearer"}, regexp.MustCompile(`(?i)(\bbearer\s+)[a-z0-9._~+/\-]{20,}=*`)},
	// A credential in a URL's query, such as that of GitHub's archives or of a presigned address of S3; & may be escaped as in JSON
	// or HTML.
	{
		[]string{"token=", "signature=", "sig=", "secret=", "password=", "apikey=", "api_key="},
		regexp.MustCompile(`(?i)((?:[?&;]|\\u0026)[a-z0-9_.\-]*(?:token|signature|sig|secret|password|api_?key)=)[^\s&#"'<>\\]{4,}`),
	},
	// The credential of a Docker config.json.
	{[]string{`"auth"`, `"identitytoken"`, `"password"`}, regexp.MustCompile(`("(?:auth|identitytoken|password)"\s*:\s*")[^"]{4,}`)},
}

// folded is a text in which letters that patterns take alike are alike (Unicode's simple folding: the Kelvin sign is a k, and the long s
// an s).
func folded(s string) string { return strings.ToLower(strings.ToUpper(s)) }

// replacements keep what follows a mask: the @ of a URL.
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

// Token masks in s everything that looks like a credential: GitHub tokens, JSON Web Tokens, user information and
// credentials in URLs, Authorization headers, private keys and Docker credentials. It is for every log line and every text that leaves.
func Token(s string) string {
	low := folded(s)
	for i, shape := range shapes {
		if slices.ContainsFunc(shape.marks, func(mark string) bool { return strings.Contains(low, mark) }) {
			s = shape.pattern.ReplaceAllString(s, replacements[i])
		}
	}
	return s
}
