package compose

import (
	"maps"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"
	"k8s.io/apimachinery/pkg/api/resource"
)

// extensionKey holds settings for Conductor in a compose file.
const extensionKey = "x-conductor"

// extension is x-conductor of a service.
type extension struct {
	// seed is whether new volumes get the image's files at their targets; nil leaves it to the converter.
	seed *bool
	// ignore leaves the service out of the stack.
	ignore bool
}

// extensionOf reads x-conductor of a service; wrong is an invalid key, with the reason.
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
			return e, k, "x-conductor has no such key: the keys are ignore and seed"
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

// size is the request of a volume's claim: x-conductor.size, else claimSize.
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
		c.reportAt(at, LevelRefused, Refused, "", "volumes."+volume+"."+extensionKey, "x-conductor of a volume has one key: size, such as 5Gi")
		return claimSize
	}
	return q
}

// ignored are the services that x-conductor leaves out of the stack.
func ignored(p *types.Project) []string {
	var out []string
	for _, name := range p.ServiceNames() {
		if e, _, _ := extensionOf(p.Services[name]); e.ignore {
			out = append(out, name)
		}
	}
	return out
}

// noteIgnored notes which services no longer wait for one that is left out.
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
