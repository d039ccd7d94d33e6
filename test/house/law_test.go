package house

import (
	"fmt"
	"strings"
)

// layer is a layer of packages. Imports go down only.
type layer string

const (
	words   layer = "words"
	pure    layer = "pure"
	plan    layer = "plan"
	adapter layer = "adapter"
	service layer = "service"
	driver  layer = "driver"
	main    layer = "main"
)

// below are the layers that each layer may import. Within its own layer a package may import only its own subpackages; words may also
// import the API.
var below = map[layer][]layer{
	words:   {},
	pure:    {words},
	plan:    {words, pure},
	adapter: {words},
	service: {words, pure, plan},
	driver:  {words, pure, plan, service},
	main:    {words, pure, plan, adapter, service, driver},
}

// layers maps the first directories of a package to its layer. The linter's rules are generated from it.
var layers = map[string]layer{
	"internal/api":        words,
	"internal/repoconfig": words,
	"internal/failure":    words,
	"internal/redact":     words,
	"internal/settings":   words,
	"internal/evidence":   words,
	"internal/faults":     words,
	"internal/source":     words,
	"internal/text":       words,
	"internal/names":      words,
	"internal/stage":      words,
	"internal/observe":    words,

	"internal/trigger":    pure,
	"internal/authority":  pure,
	"internal/compose":    pure,
	"internal/compact":    pure,
	"internal/jobs":       pure,
	"internal/testreport": pure,
	"internal/result":     pure,
	"internal/diagnose":   pure,
	"internal/record":     pure,
	"internal/report":     pure,

	"internal/plan": plan,

	"internal/child":     adapter,
	"internal/githubapp": adapter,
	"internal/registry":  adapter,
	"internal/agent":     adapter,

	"internal/runs":    service,
	"internal/stackns": service,

	"internal/webhook":             driver,
	"internal/controller/delivery": driver,
	"internal/controller/run":      driver,

	"cmd/conductor": main,
}

// impure are imports that a pure package must not have: clients, clocks, the network. compose is an exception, since it reads a directory
// and its loader requires a context.
var impure = []string{"context", "net/http", "os", "os/exec", "k8s.io/client-go", "sigs.k8s.io/controller-runtime", "math/rand", "crypto/rand"}

// exceptions are imports that are allowed anyway, with the reason.
var exceptions = map[string]string{
	"internal/jobs > sigs.k8s.io/controller-runtime/pkg/client":    "the interface client.Object",
	"internal/compose > sigs.k8s.io/controller-runtime/pkg/client": "the interface client.Object",
	"internal/plan > sigs.k8s.io/controller-runtime/pkg/client":    "the interface client.Object",
	"internal/plan > os":         "it reads the files below a directory that it is given",
	"internal/compose > os":      "it reads the files below a directory that it is given",
	"internal/compose > context": "the loader's functions want one; none of compose's own does",
}

// unitOf is the package of the law that an import path belongs to, relative to the module; "" for a package outside it.
func unitOf(path string) string {
	for unit := range layers {
		if path == unit || strings.HasPrefix(path, unit+"/") {
			return unit
		}
	}
	return ""
}

// breaches lists the imports of a package that the law forbids. Paths within the module are relative to it.
func breaches(pkg string, imports []string) []string {
	unit := unitOf(pkg)
	if unit == "" {
		return []string{fmt.Sprintf("%s has no layer: name it in the law", pkg)}
	}
	var all []string
	for _, imp := range imports {
		if why := breach(unit, imp); why != "" {
			all = append(all, fmt.Sprintf("%s imports %s: %s", pkg, imp, why))
		}
	}
	return all
}

func breach(unit, imp string) string {
	if exceptions[unit+" > "+imp] != "" {
		return ""
	}
	here := layers[unit]
	if strings.HasPrefix(imp, "test/") {
		return "what is shipped needs no test"
	}
	if !strings.HasPrefix(imp, "internal/") && !strings.HasPrefix(imp, "cmd/") {
		if (here == pure || here == plan) && within(imp, impure) {
			return "a pure package has no client, context, environment or chance"
		}
		return ""
	}
	other := unitOf(imp)
	switch {
	case other == "":
		return "it has no layer: name it in the law"
	case other == unit:
		return ""
	case here == words && other == "internal/api":
		return ""
	case here == pure && imp == "internal/repoconfig/nearest":
		return ""
	case layers[other] == here:
		return "siblings never import each other"
	case !contains(below[here], layers[other]):
		return fmt.Sprintf("imports go down only, and %s is not below %s", layers[other], here)
	}
	return ""
}

func within(imp string, roots []string) bool {
	for _, r := range roots {
		if imp == r || strings.HasPrefix(imp, r+"/") {
			return true
		}
	}
	return false
}

func contains(all []layer, one layer) bool {
	for _, l := range all {
		if l == one {
			return true
		}
	}
	return false
}
