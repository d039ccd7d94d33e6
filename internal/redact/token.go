package redact

import "regexp"

// shape is a secret that is known by how it looks; what its first group holds stays readable.
var shapes = []*regexp.Regexp{
	// A private key in PEM (RFC 7468), to its end or the text's.
	regexp.MustCompile(`(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)`),
	// GitHub's tokens: "Behind GitHub's new authentication token formats", github.blog, 2021; installation tokens
	// may hold a JWT with its dots.
	regexp.MustCompile(`()gh[pousr]_[A-Za-z0-9_.\-]{20,}`),
	regexp.MustCompile(`()github_pat_[A-Za-z0-9_]{20,}`),
	// npm's access tokens.
	regexp.MustCompile(`()npm_[A-Za-z0-9]{30,}`),
	// A JSON Web Token (RFC 7519): its first part is base64 of {" and more.
	regexp.MustCompile(`()eyJ[A-Za-z0-9_\-]{5,}\.[A-Za-z0-9_\-]{5,}(?:\.[A-Za-z0-9_\-]*)?`),
	// User information in a URL (RFC 3986, 3.2.1): a password or a token.
	regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.\-]*://)[^\s/?#"'<>]+@`),
	// The Authorization header (RFC 9110, 11.6.2), and a bearer token on its own.
	regexp.MustCompile(`(?i)(\bauthorization["']?\s*[:=]\s*["']?(?:[a-z]+\s+)?)[^\s"',]{4,}`),
	regexp.MustCompile(`(?i)(\bbearer\s+)[a-z0-9._~+/\-]{20,}=*`),
	// A credential in a URL's query, such as that of GitHub's archives or of a presigned address of S3; & may be escaped as in JSON
	// or HTML.
	regexp.MustCompile(`(?i)((?:[?&;]|\\u0026)[a-z0-9_.\-]*(?:token|signature|sig|secret|password|api_?key)=)[^\s&#"'<>\\]{4,}`),
	// The credential of a Docker config.json.
	regexp.MustCompile(`("(?:auth|identitytoken|password)"\s*:\s*")[^"]{4,}`),
}

// replacements keep what follows a mask: the @ of a URL.
var replacements = func() []string {
	out := make([]string, len(shapes))
	for i, s := range shapes {
		out[i] = "${1}***"
		if r := s.String(); r[len(r)-1] == '@' {
			out[i] += "@"
		}
	}
	return out
}()

// Token masks in s everything that looks like a credential: GitHub tokens, JSON Web Tokens, user information and
// credentials in URLs, Authorization headers, private keys and Docker credentials. It is for every log line and every text that leaves.
func Token(s string) string {
	for i, shape := range shapes {
		s = shape.ReplaceAllString(s, replacements[i])
	}
	return s
}
