package jobs

import (
	"math/rand"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/names"
)

// randomName is made of few different parts, so that names nearly collide.
func randomName(r *rand.Rand) string {
	parts := []string{"a", "b", "-", "--", "A", "_", ".", "é", "0", strings.Repeat("long", 20), "stack-", "test"}
	var b strings.Builder
	for range r.Intn(5) {
		b.WriteString(parts[r.Intn(len(parts))])
	}
	return b.String()
}

func TestNamesAreLabelsAndNeverShared(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	seen := map[string]map[string]string{}
	claim := func(kind, name, of string) {
		if errs := validation.IsDNS1123Label(name); len(errs) > 0 {
			t.Fatalf("%s of %q is %q: %v", kind, of, name, errs)
		}
		if seen[kind] == nil {
			seen[kind] = map[string]string{}
		}
		if other, ok := seen[kind][name]; ok && other != of {
			t.Fatalf("%s %q is that of %q and of %q", kind, name, other, of)
		}
		seen[kind][name] = of
	}
	for range 20000 {
		a, b := randomName(r), randomName(r)
		run := &v1alpha1.Run{}
		run.Name, run.UID = a, types.UID(a)
		claim("stack", StackName(run), a)
		claim("build", BuildName(run, b), a+"\x00"+b)
		claim("build secret", BuildSecretName(run), a)
		claim("pull secret", PullSecretName(run), a)
		claim("test", TestName(evidence.AttemptKey{Suite: b, Number: 1}, 1), b)
		claim("test", TestName(evidence.AttemptKey{Suite: b, Shard: 1, Number: 2}, 3), b+"\x00second")
		claim("public", Public{Run: run, Service: b, Object: b, Port: 1}.meta().Name, b)
		if v := names.LabelValue(a); len(validation.IsValidLabelValue(v)) > 0 {
			t.Fatalf("label value of %q is %q", a, v)
		}
	}
	if len(seen["build"]) < 1000 {
		t.Fatalf("only %d different names were tried", len(seen["build"]))
	}
}

func TestPlainNamesStayReadable(t *testing.T) {
	run := testRun()
	for got, want := range map[string]string{
		StackName(run): "stack-acme-shop-0123456789",
		TestName(evidence.AttemptKey{Suite: "e2e", Number: 1}, 1): "conductor-test-e2e",
		BuildTag(run):                    "4f3c2b1a0987-acme-shop-0123456789",
		names.LabelValue("My_Service.1"): "My_Service.1",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := BuildName(run, "backend"); !strings.HasPrefix(got, "acme-shop-0123456789-backend-") {
		t.Errorf("build name %q", got)
	}
}

func TestHostnamesHoldLabelsOnly(t *testing.T) {
	long := testRun()
	long.Name = strings.Repeat("x", 60)
	for _, run := range []*v1alpha1.Run{testRun(), long} {
		for _, pattern := range []string{"{service}-{run}.qa.example.com", "{service}.{run}.qa.example.com"} {
			a, b := Public{Run: run, Service: "my_web", Host: pattern}.Hostname(), Public{Run: run, Service: "my-web", Host: pattern}.Hostname()
			for _, h := range []string{a, b} {
				if errs := validation.IsDNS1123Subdomain(h); len(errs) > 0 || !strings.HasSuffix(h, ".qa.example.com") {
					t.Errorf("%q: %v", h, errs)
				}
				for _, l := range strings.Split(h, ".") {
					if len(l) > 63 {
						t.Errorf("%q has a label of %d", h, len(l))
					}
				}
			}
			if a == b {
				t.Errorf("two services share %q", a)
			}
		}
	}
}
