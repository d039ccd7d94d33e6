package house

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the linter's rules anew")

// The rules of depguard are between these lines of .golangci.yaml.
const (
	linterConfig = "../../.golangci.yaml"
	rulesBegin   = "    depguard: # made of test/house/law_test.go by make generate\n"
	rulesEnd     = "    errcheck:\n"
)

// TestTheLinterHasTheLaw keeps the linter's rules equal to the law, so that editors show breaches.
func TestTheLinterHasTheLaw(t *testing.T) {
	have, err := os.ReadFile(linterConfig)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := bytes.Cut(have, []byte(rulesBegin))
	_, tail, closed := bytes.Cut(rest, []byte(rulesEnd))
	if !ok || !closed {
		t.Fatalf("%s has no rules between %q and %q", linterConfig, rulesBegin, rulesEnd)
	}
	want := slices.Concat(head, []byte(rulesBegin+linterRules()+rulesEnd), tail)
	if bytes.Equal(have, want) {
		return
	}
	if !*update {
		t.Fatal("the linter's rules are not those of the law: make generate")
	}
	if err := os.WriteFile(linterConfig, want, 0o644); err != nil {
		t.Fatal(err)
	}
}

// linterRules are one rule for each package of the law.
func linterRules() string {
	var b strings.Builder
	b.WriteString("      rules:\n")
	for _, unit := range slices.Sorted(maps.Keys(layers)) {
		if layers[unit] != main {
			writeRule(&b, unit)
		}
	}
	b.WriteString("        shipped:\n          list-mode: lax\n          files: [\"**/internal/**\", \"**/cmd/**\", \"!**/test/**\", \"!$test\"]\n" +
		"          deny:\n            - {pkg: " + module + "test, desc: what is shipped needs no test}\n")
	return b.String()
}

func writeRule(b *strings.Builder, unit string) {
	name := strings.ReplaceAll(strings.TrimPrefix(unit, "internal/"), "/", "-")
	fmt.Fprintf(b, "        %s:\n          list-mode: lax\n          files: [\"**/%s/**\", \"!$test\"]\n          allow:\n", name, unit)
	for _, other := range slices.Sorted(maps.Keys(layers)) {
		if breach(unit, other) == "" {
			fmt.Fprintf(b, "            - %s%s\n", module, other)
		}
	}
	here := layers[unit]
	if here == pure {
		fmt.Fprintf(b, "            - %sinternal/repoconfig/nearest\n", module)
	}
	for _, exception := range slices.Sorted(maps.Keys(exceptions)) {
		if imp, ok := strings.CutPrefix(exception, unit+" > "); ok && strings.Contains(imp, "/") {
			fmt.Fprintf(b, "            - %s$\n", imp)
		}
	}
	fmt.Fprintf(b, "          deny:\n            - {pkg: %s, desc: imports go down only and siblings never import each other (test/house/law_test.go)}\n", strings.TrimSuffix(module, "/"))
	if here != pure && here != plan {
		return
	}
	for _, imp := range impure {
		if exceptions[unit+" > "+imp] == "" {
			fmt.Fprintf(b, "            - {pkg: %s, desc: \"a pure package has no client, context, environment or chance\"}\n", imp)
		}
	}
}
