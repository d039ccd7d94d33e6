package registry

import (
	"strings"
	"testing"

	orasregistry "oras.land/oras-go/v2/registry"

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
		if _, err := orasregistry.ParseReference(got); err != nil {
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
	for _, o := range []Options{{}, {Host: "r.example/x"}, {Host: "https://r.example"}, {Host: "r.example", Prefix: "Upper"}, {Host: "r.example", Prefix: "a//b"}, {Host: "r.example", Records: "a b"}, {Host: "r.example", Records: "//"}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

func TestRecordsStandApart(t *testing.T) {
	for _, c := range []struct{ prefix, records, want string }{
		{"", "", "r.example/records/acme/shop"}, {"qa", "", "r.example/qa/records/acme/shop"}, {"qa", "kept/runs", "r.example/qa/kept/runs/acme/shop"},
		{"qa", "/archive", "r.example/archive/acme/shop"},
	} {
		r := open(t, Options{Host: "r.example", Prefix: c.prefix, Records: c.records})
		if got := r.RecordRepository(shop); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
		// An owner of the name of the records' place must not be able to write there with an image.
		first, rest, _ := strings.Cut(strings.Trim(r.o.Records, "/"), "/")
		got := r.Repository(v1alpha1.Repository{Owner: first, Name: "acme"}, "shop")
		if got == c.want || strings.Contains(got, "/"+first+"/acme/") {
			t.Errorf("%+v (%s): an image is %s", c, rest, got)
		}
	}
}

func TestHistoriesDoNotShareATag(t *testing.T) {
	seen := map[string]bool{}
	for _, pair := range [][2]string{{"main", "a"}, {"main", "b"}, {"a", "main"}, {"feature/x", "a"}, {"", "a"}, {"mai", "na"}} {
		tag := historyTag(pair[0], pair[1])
		if seen[tag] || tag != historyTag(pair[0], pair[1]) || len(tag) > 128 {
			t.Errorf("%v: %s", pair, tag)
		}
		seen[tag] = true
	}
}
