package compose

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// defaultWait is how long an init container waits before it fails and the kubelet starts it again.
	defaultWait = 30 * time.Minute
	// optionalWait is how long a dependency with `required: false` may delay others.
	optionalWait = 5 * time.Minute
	// defaultNamespace is kubectl's default.
	defaultNamespace = "default"
	// annotationWave orders what Argo CD applies: a wave begins when the previous one is healthy.
	// https://argo-cd.readthedocs.io/en/stable/user-guide/sync-waves/
	annotationWave = "argocd.argoproj.io/sync-wave"
)

// ManifestOptions is what a manifest depends on besides the conversion.
type ManifestOptions struct {
	// WaitImage is Conductor's own image, which has the command wait.
	WaitImage string
	// WaitTimeout is how long an init container waits before it is started again; 0 means half an hour.
	WaitTimeout time.Duration
	// Strict refuses whatever behaves otherwise than under compose.
	Strict bool
}

// Manifest converts a project for a cluster without Conductor: init containers wait for dependencies. Without a namespace the objects do
// not have one, unless some wait for Jobs: the right to read a Job is granted to an account in a namespace, which is then kubectl's
// default. The error is an *Errors with all findings.
func Manifest(p *Project, o Options, m ManifestOptions) (*Stack, error) {
	o.Strict = false
	stack, err := Convert(p, o)
	if err != nil {
		return nil, err
	}
	r := newOrderer(p, stack, o.Namespace, m)
	for i := range stack.Services {
		limitFailures(&stack.Services[i])
		r.addWaits(&stack.Services[i])
	}
	r.addReaders()
	r.addWaves()
	r.noteMissingImages(o.Images)
	r.noteMissingSecrets()
	if o.Namespace == "" && len(r.readers) > 0 {
		for _, object := range stack.Objects() {
			object.SetNamespace(defaultNamespace)
		}
	}
	if m.Strict {
		forbidNotes(stack.Findings)
	}
	stack.Findings = tidy(stack.Findings)
	if err := errorOf(stack.Findings); err != nil {
		return nil, err
	}
	return stack, nil
}

// limitFailures has the Job controller count the failures that Conductor counts in a run, so that what waits for the Job learns of its
// failure. Failed pods stay, with their logs.
func limitFailures(s *Service) {
	job, ok := s.Workload.(*batchv1.Job)
	if !ok || s.MaxFailures == 0 {
		return
	}
	job.Spec.BackoffLimit, job.Spec.Template.Spec.RestartPolicy = new(s.MaxFailures-1), corev1.RestartPolicyNever
}

// forbidNotes turns every note into a refusal.
func forbidNotes(findings []Finding) {
	for i, f := range findings {
		if f.Level == LevelNote {
			findings[i].Level, findings[i].Outcome = LevelRefused, Refused
			findings[i].Reason += " (strict)"
		}
	}
}

// orderer adds the order of start to the objects.
type orderer struct {
	p         *Project
	o         ManifestOptions
	stack     *Stack
	namespace string
	// services are those of the stack by name, hosts those that have a pod, by the pods' name.
	services, hosts map[string]*Service
	// names are those of all Services.
	names map[string]bool
	// ready maps pods to the Service that has the addresses of the ready ones.
	ready map[string]string
	// readers are the accounts that may get a Job, by Job.
	readers map[string][]string
	// waves are the numbers of Argo CD's waves by pod; 0 is the first. The pods in last are in the last wave.
	waves map[string]int
	last  map[string]bool
}

func newOrderer(p *Project, stack *Stack, namespace string, o ManifestOptions) *orderer {
	o.WaitTimeout = cmp.Or(o.WaitTimeout, defaultWait)
	r := &orderer{
		p: p, o: o, stack: stack, namespace: namespace, services: map[string]*Service{}, hosts: map[string]*Service{}, names: map[string]bool{},
		ready: map[string]string{}, readers: map[string][]string{}, waves: map[string]int{}, last: map[string]bool{},
	}
	for i := range stack.Services {
		s := &stack.Services[i]
		r.services[s.Name] = s
		if s.Workload != nil {
			r.hosts[podName(s)] = s
		}
	}
	for _, object := range stack.Objects() {
		if s, ok := object.(*corev1.Service); ok {
			r.names[s.Name] = true
		}
	}
	return r
}

// podName is the name that a service's pods are selected by. A service that runs in the pod of another has no workload.
func podName(s *Service) string {
	if t := templateOf(s.Workload); t != nil {
		return t.Labels[labelName]
	}
	for _, object := range s.Objects {
		if svc, ok := object.(*corev1.Service); ok {
			return svc.Spec.Selector[labelName]
		}
	}
	return ""
}

// templateOf is a workload's pod template; nil when there is none.
func templateOf(workload client.Object) *corev1.PodTemplateSpec {
	switch w := workload.(type) {
	case *appsv1.Deployment:
		return &w.Spec.Template
	case *batchv1.Job:
		return &w.Spec.Template
	}
	return nil
}

// addWaves numbers workloads so that each comes after its dependencies. To Argo CD a Job is healthy once it has completed, and one that
// serves never is: such Jobs, and what waits for them, are in the last wave, where only their init containers order them. A claim comes with the first pod that mounts it: where volumes are
// bound late, a claim is not healthy to Argo CD before a pod mounts it.
func (r *orderer) addWaves() {
	claims := map[string]int{}
	final := 0
	for _, wave := range r.waves {
		final = max(final, wave)
	}
	for pod, last := range r.last {
		if last {
			r.waves[pod] = final
		}
	}
	for i := range r.stack.Services {
		s := &r.stack.Services[i]
		t := templateOf(s.Workload)
		if t == nil {
			continue
		}
		wave := r.waves[podName(s)]
		setWave(s.Workload, wave)
		for _, v := range t.Spec.Volumes {
			if v.PersistentVolumeClaim == nil {
				continue
			}
			name := v.PersistentVolumeClaim.ClaimName
			if first, ok := claims[name]; !ok || wave < first {
				claims[name] = wave
			}
		}
	}
	for _, object := range r.stack.Shared {
		if claim, ok := object.(*corev1.PersistentVolumeClaim); ok {
			setWave(claim, claims[claim.Name])
		}
	}
}

func setWave(object client.Object, wave int) {
	if wave > 0 {
		object.SetAnnotations(merged(object.GetAnnotations(), map[string]string{annotationWave: strconv.Itoa(wave)}))
	}
}

// noteMissingImages notes the images that the user has to build.
func (r *orderer) noteMissingImages(given map[string]string) {
	for _, b := range r.p.Builds() {
		if given[b.Service] != "" {
			continue
		}
		i := slices.IndexFunc(r.stack.Services, func(s Service) bool { return s.Name == b.Service })
		image := r.p.builtName(b.Service)
		if i >= 0 {
			image = r.stack.Services[i].Image
		}
		r.report(LevelNote, b.Service, "build", "", "the image %s is not built here: build and push it, or name another with --image SERVICE=REFERENCE", image)
	}
}

// noteMissingSecrets reports the Secrets that the user has to create, with their keys.
func (r *orderer) noteMissingSecrets() {
	keys := map[string][]string{}
	need := func(name, key string) {
		if !slices.Contains(keys[name], key) {
			keys[name] = append(keys[name], key)
		}
	}
	for i := range r.stack.Services {
		t := templateOf(r.stack.Services[i].Workload)
		if t == nil {
			continue
		}
		for _, c := range slices.Concat(t.Spec.InitContainers, t.Spec.Containers) {
			for _, e := range c.Env {
				if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
					need(e.ValueFrom.SecretKeyRef.Name, e.ValueFrom.SecretKeyRef.Key)
				}
			}
		}
		for _, v := range t.Spec.Volumes {
			if v.Secret != nil {
				for _, item := range v.Secret.Items {
					need(v.Secret.SecretName, item.Key)
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		slices.Sort(keys[name])
		r.stack.Findings = append(r.stack.Findings, Finding{
			File: r.p.sources.find("").file, Level: LevelInfo, Outcome: Approximated, Field: "secrets",
			Reason: fmt.Sprintf("the pods need a Secret %s with the keys %s: create it before they start", name, strings.Join(keys[name], ", ")),
		})
	}
}

// report adds a finding about something that is approximated.
func (r *orderer) report(level Level, service, field, hint, format string, args ...any) {
	at := r.p.sources.find(hint, append([]string{"services", service}, strings.Split(field, ".")...)...)
	r.stack.Findings = append(r.stack.Findings, Finding{
		File: at.file, Line: at.line, Level: level, Service: service, Field: field, Outcome: Approximated, Reason: fmt.Sprintf(format, args...),
	})
}

// isJob reports whether a service runs to completion.
func isJob(s *Service) bool {
	_, ok := s.Workload.(*batchv1.Job)
	return ok
}

// hasProbe reports whether a container of a service has a startup or readiness probe.
func hasProbe(s *Service) bool {
	t := templateOf(s.Workload)
	return t != nil && slices.ContainsFunc(t.Spec.Containers, func(c corev1.Container) bool { return c.ReadinessProbe != nil || c.StartupProbe != nil })
}
