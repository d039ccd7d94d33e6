package compose

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// Bounds of a stack's objects. The API server keeps all of them, and refuses requests of more than 1.5 MiB:
// https://etcd.io/docs/v3.5/dev-guide/limit/
const (
	maxObjects = 1000
	// maxObject is the size of one object, maxStack that of all, in bytes as the API server keeps them.
	maxObject = 1 << 20
	maxStack  = 8 << 20
)

// fitsInStack reports, before any object is made, whether services and their additional names are within the bound.
func (c *converter) fitsInStack() bool {
	pods := 0
	for _, name := range c.compose.ServiceNames() {
		if c.podOf(name) == name {
			pods++
		}
	}
	return c.checkCount(map[string]int{"Deployments and Jobs": pods, "Services": pods + len(c.aliases)})
}

// refuseStack refuses the stack as a whole.
func (c *converter) refuseStack(format string, args ...any) {
	c.reportAt(c.sources.find("", "services"), LevelRefused, Refused, "", "services", format, args...)
}

// checkCount refuses a stack with too many objects, by kind.
func (c *converter) checkCount(kinds map[string]int) bool {
	total := 0
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		total += kinds[kind]
		parts = append(parts, fmt.Sprintf("%d %s", kinds[kind], kind))
	}
	if total <= maxObjects {
		return true
	}
	c.refuseStack("the stack has %d objects (%s); a stack has at most %d. Leave out services, or further names of theirs", total, strings.Join(parts, ", "), maxObjects)
	return false
}

// checkObjects refuses a stack that is too large for the API server.
func (c *converter) checkObjects(s *Stack) {
	kinds, sum := map[string]int{}, 0
	objects := s.Objects()
	for _, o := range objects {
		kind := o.GetObjectKind().GroupVersionKind().Kind
		kinds[kind+"s"]++
		size := sizeOf(o)
		if sum += size; size > maxObject {
			service := o.GetLabels()[v1alpha1.LabelService]
			c.refuse(service, "", "", "the %s %s has %s; the API server takes objects of at most %s. Its variables, commands, labels and mounts are too long",
				kind, o.GetName(), bytesOf(int64(size)), bytesOf(maxObject))
		}
	}
	c.checkCount(kinds)
	if sum > maxStack {
		c.refuseStack("the objects of the stack have %s together; at most %s. Its variables, commands, labels and mounts are too long", bytesOf(int64(sum)), bytesOf(maxStack))
	}
}

// sizeOf is how long an object is as the API server keeps it; 0 when that is not known.
func sizeOf(o client.Object) int {
	if s, ok := o.(interface{ Size() int }); ok {
		return s.Size()
	}
	return 0
}
