package hub

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
)

// The names that the token server and the registry know each other by; the
// registry's settings (config/registry.yml) hold them too.
const (
	Issuer  = "conductor-test"
	Service = "registry"
)

// lifetime is how long a token is good for. The specification's minimum is a
// minute; a slow image build may take longer over one layer.
const lifetime = 15 * time.Minute

// Signer makes tokens.
type Signer struct {
	key   *ecdsa.PrivateKey
	chain []string // base64 of the certificate's DER, as the header x5c has it (RFC 7515, 4.1.6)
}

// NewSigner reads the key pair whose certificate the registry trusts.
func NewSigner(certificateFile, keyFile string) (*Signer, error) {
	pair, err := tls.LoadX509KeyPair(certificateFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("token server's key: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("token server's key is a %T, want ECDSA", pair.PrivateKey)
	}
	s := &Signer{key: key}
	for _, der := range pair.Certificate {
		s.chain = append(s.chain, base64.StdEncoding.EncodeToString(der))
	}
	return s, nil
}

// Token signs what the user may do, as a JWT with ES256 (RFC 7518, 3.4).
func (s *Signer) Token(user, service string, access []Access, now time.Time) (string, error) {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return "", err
	}
	header, err := segment(map[string]any{"typ": "JWT", "alg": "ES256", "x5c": s.chain})
	if err != nil {
		return "", err
	}
	claims, err := segment(map[string]any{
		"iss": Issuer, "sub": user, "aud": service, "jti": base64.RawURLEncoding.EncodeToString(id),
		"iat": now.Unix(), "nbf": now.Add(-10 * time.Second).Unix(), "exp": now.Add(lifetime).Unix(),
		"access": access,
	})
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256([]byte(header + "." + claims))
	r, v, err := ecdsa.Sign(rand.Reader, s.key, digest[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64) // both numbers at the curve's full size
	r.FillBytes(signature[:32])
	v.FillBytes(signature[32:])
	return header + "." + claims + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

func segment(v any) (string, error) {
	text, err := json.Marshal(v)
	return base64.RawURLEncoding.EncodeToString(text), err
}
