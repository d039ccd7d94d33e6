package compose

import (
	"maps"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"
	"k8s.io/apimachinery/pkg/api/resource"
)

// extensionKey is where a compose file says what only Conductor reads.
const extensionKey = "x-conductor"

// extension is x-conductor of a service.
type extension struct {
	// seed reports whether new volumes get what the image has at their targets; nil leaves it to the converter.
	seed *bool
	// ignore leaves the service out of the stack.
	ignore bool
}

// extensionOf reads x-conductor of a service; wrong is the key that is not right, with the reason.
func extensionOf(s types.ServiceConfig) (e extension, wrong, reason string) {
	fields, ok := s.Extensions[extensionKey].(map[string]any)
	if !ok {
		if _, set := s.Extensions[extensionKey]; set {
			return e, extensionKey, "a mapping is expected here, with the keys ignore and seed"
		}
		return e, "", ""
	}
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		v, isBool := fields[k].(bool)
		switch {
		case k != "seed" && k != "ignore":
			return e, k, "x-conductor has no such key: it knows ignore and seed"
		case !isBool:
			return e, k, "true or false is expected here"
		case k == "seed":
			e.seed = &v
		default:
			e.ignore = v
		}
	}
	return e, "", ""
}

// size is what a volume's claim asks for: x-conductor.size, else claimSize.
func (c *converter) size(volume string) resource.Quantity {
	raw, set := c.compose.Volumes[volume].Extensions[extensionKey]
	if !set {
		return claimSize
	}
	fields, _ := raw.(map[string]any)
	text, _ := fields["size"].(string)
	q, err := resource.ParseQuantity(text)
	if len(fields) != 1 || err != nil || q.Sign() <= 0 {
		at := c.sources.find("", "volumes", volume, extensionKey)
		c.sayAt(at, LevelRefused, Refused, "", "volumes."+volume+"."+extensionKey, "x-conductor of a volume has the key size alone, such as 5Gi")
		return claimSize
	}
	return q
}

// ignored are the services that the files leave out of the stack.
func ignored(p *types.Project) []string {
	var out []string
	for _, name := range p.ServiceNames() {
		if e, _, _ := extensionOf(p.Services[name]); e.ignore {
			out = append(out, name)
		}
	}
	return out
}

// noteIgnored says who does not wait any more for a service that is left out.
func (r *reader) noteIgnored(p *types.Project, names []string) {
	for _, service := range p.ServiceNames() {
		for _, dep := range slices.Sorted(maps.Keys(p.Services[service].DependsOn)) {
			if !slices.Contains(names, dep) {
				continue
			}
			at := r.sources.find(dep, "services", service, "depends_on")
			r.findings.add(Finding{
				File: at.file, Line: at.line, Level: LevelNote, Service: service, Field: "depends_on", Outcome: Dropped,
				Reason: dep + " is left out of the stack by its x-conductor: nothing waits for it",
			})
		}
	}
}
