package registry

import (
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

func TestRepository(t *testing.T) {
	r := open(t, Options{Host: "r.example:5000", Prefix: "/qa/builds/"})
	cases := []struct{ owner, name, image, want string }{
		{"acme", "shop", "web", "r.example:5000/qa/builds/acme/shop/web"},
		{"Acme", "Shop", "web", "r.example:5000/qa/builds/acme/shop/web"},
		{"acme", "shop", "", "r.example:5000/qa/builds/acme/shop"},
		{"acme", "a.b_c-d", "x__y", "r.example:5000/qa/builds/acme/a.b_c-d/x__y"},
	}
	for _, c := range cases {
		if got := r.Repository(v1alpha1.Repository{Owner: c.owner, Name: c.name}, c.image); got != c.want {
			t.Errorf("%v: %s", c, got)
		}
	}
	// Names that a registry does not take are spelled otherwise, each in its own way, and always the same.
	seen := map[string]string{}
	long := strings.Repeat("x", 100)
	for _, n := range []string{".github", "github", "-github", "a..b", "a.b", "a-", "a", "Web", "web", "WEB", "___", "日本", long, long + "y"} {
		got := r.Repository(shop, n)
		if other, ok := seen[got]; ok {
			t.Errorf("%q and %q are both %s", n, other, got)
		}
		seen[got] = n
		if _, err := name.NewRepository(got, name.StrictValidation); err != nil {
			t.Errorf("%q: %v", n, err)
		}
		last := got[strings.LastIndex(got, "/")+1:]
		if !component.MatchString(last) || len(last) > maxComponent {
			t.Errorf("%q is spelled %q", n, last)
		}
		if got != r.Repository(shop, n) {
			t.Errorf("%q is spelled in two ways", n)
		}
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	for _, o := range []Options{{}, {Host: "r.example/x"}, {Host: "https://r.example"}, {Host: "r.example", Prefix: "Upper"}, {Host: "r.example", Prefix: "a//b"}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}
