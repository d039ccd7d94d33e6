package compose

import (
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/template"
	"go.yaml.in/yaml/v4"
)

// maxPorts is how many ports a service may have. The API server refuses a Service with many more.
const maxPorts = 250

// portRange parses a port or a range of ports, FIRST-LAST.
func portRange(s string) (first, last int, ok bool) {
	from, to, isRange := strings.Cut(s, "-")
	if !isRange {
		to = from
	}
	first, err1 := strconv.Atoi(from)
	last, err2 := strconv.Atoi(to)
	return first, last, err1 == nil && err2 == nil && first >= 1 && first <= last && last <= 65535
}

// countPorts is the number of ports in an item of ports or expose in the short form: [[IP:]PUBLISHED:]PORTS[/PROTOCOL].
func countPorts(s string) int {
	s, _, _ = strings.Cut(s, "/")
	if first, last, ok := portRange(s[strings.LastIndexByte(s, ':')+1:]); ok {
		return last - first + 1
	}
	return 1
}

// checkPorts refuses services with too many ports before compose-go makes a list of each range of ports and compares each item of expose
// with its patterns. It also records in the scale how many values compose-go makes of ports and volumes.
func (r *reader) checkPorts(s *source, services *yaml.Node, sc *scale) {
	checked := map[*yaml.Node]bool{}
	for name, service := range entries(services) {
		if list := child(service, "volumes"); list != nil && list.Kind == yaml.SequenceNode {
			sc.extra[list] = int64(len(list.Content)) * volumeValues
		}
		for _, field := range []string{"ports", "expose"} {
			list := child(service, field)
			if list == nil || list.Kind != yaml.SequenceNode || checked[list] {
				continue
			}
			checked[list] = true
			total, over := listedPorts(s, list)
			switch {
			case total > maxPorts:
				r.refuse(s.at(over), name.Value, field, "the service lists %d ports; at most %d are allowed", total, maxPorts)
			case field == "ports":
				sc.extra[list] = int64(total) * portValues
			}
		}
	}
}

// listedPorts counts the ports of a list of ports or expose, and returns the item that exceeds maxPorts.
func listedPorts(s *source, list *yaml.Node) (total int, over *yaml.Node) {
	over = list
	for _, item := range list.Content {
		n := 1
		// An item with too many variables is refused with the other texts.
		if item = target(item); item != nil && item.Kind == yaml.ScalarNode && !hasManyVariables(item.Value) {
			// compose-go refuses what cannot be interpolated.
			text, _ := template.Substitute(item.Value, lookupIn(s.env))
			n = countPorts(text)
		}
		if total += n; total > maxPorts && total-n <= maxPorts && item != nil {
			over = item
		}
	}
	return total, over
}
