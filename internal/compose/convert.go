package compose

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// converter holds what the conversion of one service needs to know about the others.
type converter struct {
	*Project
	o        Options
	findings findings
	// names are the DNS names of services.
	names map[string]string
	// awaited are the services whose completion others wait for, healthAwaited those whose health they wait for.
	awaited, healthAwaited map[string]bool
	// aliases maps each additional name to the services that have it.
	aliases map[string][]string
	// namesOf are the additional names of each service, sorted; taken maps DNS names to services.
	namesOf map[string][]string
	taken   map[string]string
	// reserved are the names of the Services of published ports.
	reserved map[string]bool
	// further are the additional names as the file gives them. Of names in the stack, spelled are those in the file, and given those that a
	// service has other than by its host name.
	further []further
	spelled map[string]string
	given   map[string]bool
	// hostNames are what names in texts are.
	hostNames hostNames
	// services are the active services, with the volumes of volumes_from.
	services map[string]types.ServiceConfig
	// hosts maps services that use another's network to that service, guests the other way.
	hosts  map[string]string
	guests map[string][]string
	// apart is set when the file isolates services from each other by networks.
	apart bool
	// networkSets are the different sets of networks that pods are on, onNetworks caches the networks of each pod.
	networkSets []map[string]bool
	onNetworks  map[string][]string
	policies    []client.Object
	claims      map[string]*corev1.PersistentVolumeClaim
	// claimUsers counts the pods that mount a claim.
	claimUsers map[string]int
	contents   map[string]*content
	// copies are the files of mounts, configs and secrets, by the key of their content.
	copies map[string]*copies
	walked int
	// filled is the size of all ConfigMaps, buildFiles that of the Dockerfiles and .dockerignores that were read, in bytes.
	filled, buildFiles int
	// brought is the size of the files that pods get from the source artifact, in bytes, broughtFiles their number.
	brought, broughtFiles int64
	absences              absences
	// compared is the work that was done to find out which files images hold.
	compared int
	// Caches: sources of mounts, mounts as written, Dockerfiles, .dockerignores, what builds do, whether images hold mounts, paths that are
	// empty volumes, directories without files, services that lend volumes, pods that start after another.
	binds       map[string]bind
	written     map[string]map[string]writtenMount
	dockerfiles map[string]*dockerfile
	ignored     map[string]*ignoredFiles
	builds      map[string]*buildFiles
	holds       map[string]held
	scratch     map[string]bool
	empty       map[string]bool
	donors      map[string]bool
	dependants  map[string][]string
	after       map[string]map[string]bool
	totals      totals
	// used are the allowances that the stack makes use of.
	used map[Allowance]bool
}

// Convert converts a loaded project to Kubernetes objects. The error is an *Errors with all findings, or an *AbsentError if files of
// LoadOptions.Absent are needed.
func Convert(p *Project, o Options) (*Stack, error) {
	c := newConverter(p, o)
	stack := c.convert()
	if err := c.absences.err(); err != nil {
		return nil, err
	}
	if err := errorOf(stack.Findings); err != nil {
		return nil, err
	}
	return stack, nil
}

func newConverter(p *Project, o Options) *converter {
	c := &converter{
		Project: p, o: o, names: map[string]string{}, awaited: map[string]bool{}, healthAwaited: map[string]bool{}, aliases: map[string][]string{},
		namesOf: map[string][]string{}, taken: map[string]string{}, reserved: map[string]bool{}, absences: absences{dir: p.dir, files: p.absent},
		copies: map[string]*copies{}, binds: map[string]bind{}, holds: map[string]held{}, empty: map[string]bool{}, after: map[string]map[string]bool{},
		written: map[string]map[string]writtenMount{}, dockerfiles: map[string]*dockerfile{}, ignored: map[string]*ignoredFiles{}, builds: map[string]*buildFiles{},
		claims: map[string]*corev1.PersistentVolumeClaim{}, claimUsers: map[string]int{}, contents: map[string]*content{},
		services: map[string]types.ServiceConfig{}, hosts: map[string]string{}, guests: map[string][]string{}, onNetworks: map[string][]string{},
		used: map[Allowance]bool{}, spelled: map[string]string{}, given: map[string]bool{},
		hostNames: hostNames{renamed: map[string]string{}, resolves: map[string]bool{}},
	}
	for _, f := range p.findings.list {
		c.add(f)
	}
	maps.Copy(c.findings.more, p.findings.more)
	return c
}

// convert converts as much as possible, even if something is refused.
func (c *converter) convert() *Stack {
	c.checkTop()
	c.survey()
	c.checkBases()
	stack := &Stack{}
	if !c.fitsInStack() {
		stack.Findings = c.findings.all()
		return stack
	}
	for _, name := range c.order() {
		if !c.isTestOnly(name) {
			stack.Services = append(stack.Services, c.service(c.services[name]))
		}
	}
	stack.Tests = c.tests()
	for _, name := range slices.Sorted(maps.Keys(c.claims)) {
		stack.Shared = append(stack.Shared, c.claims[name])
	}
	for _, name := range slices.Sorted(maps.Keys(c.contents)) {
		for _, m := range c.contents[name].objects {
			stack.Shared = append(stack.Shared, m)
		}
	}
	stack.Shared = append(stack.Shared, c.policies...)
	stack.Shared = append(stack.Shared, c.aliasServices()...)
	c.checkTotals()
	c.checkObjects(stack)
	stack.Findings, stack.Allowed, stack.hostNames = c.findings.all(), slices.Sorted(maps.Keys(c.used)), &c.hostNames
	return stack
}

// add adds a finding. Options.Strict refuses what would be dropped with a note.
func (c *converter) add(f Finding) {
	reason := f.Reason
	if c.isForbidden(f.Level, f.Outcome) {
		f.Level, f.Outcome, f.Reason = LevelRefused, Refused, f.Reason+" (stack.strict is set)"
	}
	f = c.hints.explain(f)
	if f.Reason != reason {
		f.Summary = ""
	}
	c.findings.add(f)
}

func (c *converter) isForbidden(l Level, o Outcome) bool {
	return c.o.Strict && o == Dropped && l == LevelNote
}

// isFull reports whether a finding would only be counted, and counts it: callers then skip the search for its place.
func (c *converter) isFull(l Level, o Outcome) bool {
	if c.isForbidden(l, o) {
		l = LevelRefused
	}
	return c.findings.isFull(l)
}

// report adds a finding about a service's field. With a hint its place is the list item that contains the hint.
func (c *converter) report(level Level, outcome Outcome, service, field, hint, format string, args ...any) {
	c.reportAlike(level, outcome, service, field, hint, "", format, args...)
}

// reportAlike is report for findings that a file may have many of. With one summary they are one line then.
func (c *converter) reportAlike(level Level, outcome Outcome, service, field, hint, summary, format string, args ...any) {
	if c.isFull(level, outcome) {
		return
	}
	at := c.sources.find(hint, append([]string{"services", service}, strings.Split(field, ".")...)...)
	c.add(Finding{
		File: at.file, Line: at.line, Level: level, Service: service, Field: field, Outcome: outcome, Reason: fmt.Sprintf(format, args...), Summary: summary,
	})
}

func (c *converter) reportAt(at place, level Level, outcome Outcome, service, field, format string, args ...any) {
	c.add(Finding{
		File: at.file, Line: at.line, Level: level, Service: service, Field: field, Outcome: outcome, Reason: fmt.Sprintf(format, args...),
	})
}

func (c *converter) refuse(service, field, hint, format string, args ...any) {
	c.report(LevelRefused, Refused, service, field, hint, format, args...)
}

func (c *converter) note(service, field, hint, format string, args ...any) {
	c.report(LevelNote, Approximated, service, field, hint, format, args...)
}

// unknown is the row of a field that is newer than the table.
var unknown = row{outcome: Refused, level: LevelRefused, text: "this field is not known to Conductor"}

// checkService adds the findings of the table for every field of a service that is set.
func (c *converter) checkService(s types.ServiceConfig) {
	setFields(reflect.ValueOf(s), "", nil, func(table string, file []string) bool {
		if table == "name" {
			return false
		}
		r, ok := rowOf(serviceTable, table)
		if !ok {
			r = unknown
		}
		if r.level != "" && (r.path == table || r.path == "") && (table == "depends_on.restart" || !c.isFull(r.level, r.outcome)) {
			at := c.sources.find("", append([]string{"services", s.Name}, file...)...)
			// compose-go sets depends_on.restart itself for links and shared namespaces.
			if at.whole || table != "depends_on.restart" {
				c.reportRow(at, r, s.Name, strings.Join(file, "."))
			}
		}
		return !r.ends()
	})
	c.checkSecrets(s)
	c.checkValues(s)
	if _, key, reason := extensionOf(s); reason != "" {
		c.reportAt(c.sources.find("", "services", s.Name, extensionKey, key), LevelRefused, Refused, s.Name, extensionKey, "%s", reason)
	}
}

// reportRow adds the finding of a row, unless the operator allows what the row refuses.
func (c *converter) reportRow(at place, r row, service, field string) {
	a := allowRows[r.path]
	if r.outcome == Refused && c.allowed(a) {
		return
	}
	c.reportAt(at, r.level, r.outcome, service, field, "%s%s", r.text, c.allowHint(a))
}

// checkTop adds the findings of the table for the other top-level elements that active services use.
func (c *converter) checkTop() {
	p := c.needed()
	c.checkTopSecrets(p)
	for name, v := range map[string]any{
		"networks": p.Networks, "volumes": p.Volumes, "configs": p.Configs, "secrets": p.Secrets, "jobs": p.Jobs, "models": p.Models,
	} {
		m := reflect.ValueOf(v)
		if r := topTable[name]; r.outcome == Refused && m.Len() > 0 {
			c.reportAt(c.sources.find("", name), r.level, r.outcome, "", name, "%s", r.text)
			continue
		}
		for _, k := range m.MapKeys() {
			setFields(m.MapIndex(k), name, []string{name, k.String()}, func(table string, file []string) bool {
				c.checkTopField(table, file)
				return false
			})
		}
	}
	for name, n := range p.Networks {
		if n.Driver != "" && n.Driver != "bridge" && n.Driver != "overlay" {
			c.reportAt(c.sources.find("", "networks", name, "driver"), LevelNote, Dropped, "", "networks."+name+".driver", "every network of a stack is the cluster's, with policies")
		}
	}
	for name, v := range p.Volumes {
		if v.Driver != "" && v.Driver != "local" {
			c.reportAt(c.sources.find("", "volumes", name, "driver"), LevelRefused, Refused, "", "volumes."+name+".driver", "the cluster's storage class decides how volumes are made")
		}
	}
}

// needed are the other top-level elements that active services use. compose-go's WithoutUnnecessaryResources would copy the whole project.
func (p *Project) needed() *types.Project {
	out := &types.Project{Networks: types.Networks{}, Volumes: types.Volumes{}, Secrets: types.Secrets{}, Configs: types.Configs{}, Models: types.Models{}}
	out.Jobs = p.compose.Jobs
	for _, s := range p.compose.Services {
		take(out.Networks, p.compose.Networks, slices.Collect(maps.Keys(s.Networks))...)
		take(out.Models, p.compose.Models, slices.Collect(maps.Keys(s.Models))...)
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeVolume {
				take(out.Volumes, p.compose.Volumes, v.Source)
			}
		}
		for _, v := range s.Secrets {
			take(out.Secrets, p.compose.Secrets, v.Source)
		}
		for _, v := range s.Configs {
			take(out.Configs, p.compose.Configs, v.Source)
		}
		if s.Build != nil {
			for _, v := range s.Build.Secrets {
				take(out.Secrets, p.compose.Secrets, v.Source)
			}
		}
	}
	return out
}

// take copies the entries with these names, if they exist.
func take[M ~map[string]V, V any](to, from M, names ...string) {
	for _, n := range names {
		if v, ok := from[n]; ok {
			to[n] = v
		}
	}
}

func (c *converter) checkTopField(table string, file []string) {
	r, ok := topTable[table]
	if !ok {
		r = unknown
	}
	at := c.sources.find("", file...)
	// compose-go sets names that the file does not have.
	if r.level == "" || strings.HasSuffix(table, ".name") && !at.whole {
		return
	}
	c.reportAt(at, r.level, r.outcome, "", strings.Join(file, "."), "%s", r.text)
}

// survey finds names, services that others wait for, and aliases before any service is converted.
func (c *converter) survey() {
	for _, name := range c.compose.ServiceNames() {
		s := c.compose.Services[name]
		dns := dnsName(name)
		if other, ok := c.taken[dns]; ok {
			c.refuse(name, "", "", "the service %s has the same DNS name, %s: rename one of them", other, dns)
		}
		c.taken[dns], c.names[name], c.spelled[dns] = name, dns, strings.ToLower(name)
		for dep, d := range s.DependsOn {
			switch d.Condition {
			case ConditionCompleted:
				c.awaited[dep] = true
			case ConditionHealthy:
				c.healthAwaited[dep] = true
			}
		}
	}
	c.surveyShared()
	c.surveyReserved()
	for _, name := range c.compose.ServiceNames() {
		s := c.withVolumes(name)
		for _, claim := range c.claimsOf(s) {
			c.claimUsers[claim] += c.podsOf(s)
		}
		if c.isTestOnly(name) {
			c.surveyLinks(s)
		} else if c.podOf(name) == name {
			c.surveyNames(s)
		}
	}
	c.giveNames()
	c.surveyPorts()
	c.surveyNetworks()
	c.checkShared()
	c.surveyFiles()
}

// order sorts the services so that each comes after its dependencies, and by name otherwise.
func (c *converter) order() []string {
	var all, ready, out []string
	waits, dependants := map[string]int{}, map[string][]string{}
	for _, n := range c.compose.ServiceNames() {
		if c.podOf(n) != n {
			continue
		}
		all = append(all, n)
		for dep := range c.edges(n) {
			if _, active := c.compose.Services[dep]; active {
				waits[n]++
				dependants[dep] = append(dependants[dep], n)
			}
		}
		if waits[n] == 0 {
			ready = append(ready, n)
		}
	}
	for len(ready) > 0 {
		next := ready[0]
		out, ready = append(out, next), ready[1:]
		for _, n := range dependants[next] {
			if waits[n]--; waits[n] == 0 {
				i, _ := slices.BinarySearch(ready, n)
				ready = slices.Insert(ready, i, n)
			}
		}
	}
	for _, n := range all {
		if waits[n] > 0 {
			c.refuse(n, "depends_on", "", "services depend on each other in a cycle")
			out = append(out, n)
		}
	}
	return out
}

// meta is an object's metadata. Service is empty for shared objects.
func (c *converter) meta(name, service string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: c.o.Namespace, Labels: c.labels(service)}
}

func typeMeta(version, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: version, Kind: kind}
}
