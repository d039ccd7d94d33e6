package compose

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const (
	// readySuffix ends the name of the Service that resolves to ready pods only.
	readySuffix = "-ready"
	// tokenVolume holds the credentials for the API server, at the path that client libraries expect.
	// https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
	tokenVolume = "conductor-wait-token"
	tokenDir    = "/var/run/secrets/kubernetes.io/serviceaccount"
	// tokenSeconds is how long a token is valid; the kubelet renews it before.
	tokenSeconds = 3600
	// waitUser is a user that does not own files of any image.
	waitUser = 65532
)

// addWaits puts an init container into a service's pod for each dependency.
func (r *orderer) addWaits(s *Service) {
	pod := podName(s)
	host := r.hosts[pod]
	if host == nil {
		return
	}
	spec := &templateOf(host.Workload).Spec
	r.last[pod] = r.last[pod] || host.OneShot && !host.Awaited
	var waits []corev1.Container
	for _, d := range s.DependsOn {
		dep := r.services[d.Service]
		// Like compose, do not wait for a service without containers.
		if dep == nil || podName(dep) == pod || r.hosts[podName(dep)] == nil || r.hosts[podName(dep)].Replicas == 0 {
			continue
		}
		dep = r.hosts[podName(dep)]
		wait := r.container(s, dep, d)
		r.last[pod] = r.last[pod] || r.last[podName(dep)]
		if d.Required {
			r.waves[pod] = max(r.waves[pod], r.waves[podName(dep)]+1)
		}
		if slices.ContainsFunc(slices.Concat(spec.InitContainers, waits), func(c corev1.Container) bool { return slices.Equal(c.Args, wait.Args) }) {
			continue
		}
		for slices.ContainsFunc(slices.Concat(spec.Containers, spec.InitContainers, waits), func(c corev1.Container) bool { return c.Name == wait.Name }) {
			wait.Name = cut("wait", hash(wait.Name))
		}
		if isJob(dep) {
			r.allowJobRead(host, dep, &wait)
		}
		waits = append(waits, wait)
	}
	spec.InitContainers = append(waits, spec.InitContainers...)
	if len(waits) > 0 {
		r.allowLookups(s, host)
	}
}

// allowLookups opens what an isolated pod needs to wait: the cluster's DNS, and the API server for Jobs. The server's address is not known
// here, so its usual ports are opened.
func (r *orderer) allowLookups(s, host *Service) {
	t := templateOf(host.Workload)
	asksServer := t.Spec.ServiceAccountName != ""
	if t.Labels[LabelNetworks] == "" || t.Labels[LabelNetworks] != "none" && !asksServer {
		return
	}
	rules := []networkingv1.NetworkPolicyEgressRule{dnsRule()}
	text := "its pod may query the cluster's DNS, for what it waits for"
	if asksServer {
		server := networkingv1.NetworkPolicyEgressRule{}
		for _, port := range []int32{443, 6443} {
			server.Ports = append(server.Ports, networkingv1.NetworkPolicyPort{Protocol: new(corev1.ProtocolTCP), Port: new(intstr.FromInt32(port))})
		}
		rules = append(rules, server)
		text = "its pod may reach TCP ports 443 and 6443 anywhere, to ask the API server whether the Job that it waits for has completed"
	}
	r.report(LevelNote, s.Name, "depends_on", "", "the compose file isolates it, but %s", text)
	r.stack.Shared = append(r.stack.Shared, &networkingv1.NetworkPolicy{
		TypeMeta:   typeMeta(networkingv1.SchemeGroupVersion.String(), "NetworkPolicy"),
		ObjectMeta: metav1.ObjectMeta{Name: "wait-" + host.Workload.GetName(), Namespace: r.namespace},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{labelName: podName(host)}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}, Egress: rules,
		},
	})
}

// container waits for the pod of one dependency. It resolves a name and does not probe a port: not every service has a TCP port, and one
// that listens may not be healthy yet.
func (r *orderer) container(s, dep *Service, d Dependency) corev1.Container {
	args := []string{"wait"}
	name := "wait-" + podName(dep)
	switch {
	case isJob(dep) && d.Condition == ConditionCompleted:
		args = append(args, "--job="+dep.Workload.GetName())
	case isJob(dep):
		args = append(args, "--job="+dep.Workload.GetName(), "--until=started")
		name += "-started"
	default:
		args = append(args, "--dns="+r.readyService(dep))
		if dep.Replicas > 1 {
			args = append(args, "--addresses="+strconv.Itoa(int(dep.Replicas)))
		}
	}
	timeout := r.o.WaitTimeout
	if !d.Required {
		timeout = min(timeout, optionalWait)
		args = append(args, "--optional")
		r.report(LevelNote, s.Name, "depends_on", d.Service, "%s is optional: after %s this starts without it", d.Service, timeout)
	}
	if d.Condition == ConditionStarted && hasProbe(dep) {
		r.report(LevelInfo, s.Name, "depends_on", d.Service, "this waits until %s is healthy, not only until it has started", d.Service)
	}
	return corev1.Container{
		Name: fitLabel(name), Image: r.o.WaitImage, ImagePullPolicy: corev1.PullIfNotPresent, Args: append(args, "--timeout="+timeout.String()),
		Resources: smallResources(), SecurityContext: restricted(),
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
}

// fitLabel is name, truncated and with a hash if it is too long for a label.
func fitLabel(name string) string {
	if len(name) <= maxLabel {
		return name
	}
	return cut(name, hash(name))
}

// readyService is the name that resolves once a service's pods are ready. The service's own name resolves earlier.
func (r *orderer) readyService(dep *Service) string {
	pod := podName(dep)
	if name, ok := r.ready[pod]; ok {
		return name
	}
	name := fitLabel(pod + readySuffix)
	for n := 2; r.names[name]; n++ {
		name = cut(pod+readySuffix, strconv.Itoa(n))
	}
	r.ready[pod], r.names[name] = name, true
	s := &corev1.Service{
		TypeMeta:   typeMeta("v1", "Service"),
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: r.namespace, Labels: maps.Clone(dep.Workload.GetLabels())},
		Spec:       corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Selector: map[string]string{labelName: pod}},
	}
	dep.Objects = append(dep.Objects, s)
	return name
}

// allowJobRead gives an init container, and no other container of the pod, a token that may get one Job.
func (r *orderer) allowJobRead(host, dep *Service, wait *corev1.Container) {
	spec := &templateOf(host.Workload).Spec
	account, job := host.Workload.GetName(), dep.Workload.GetName()
	if !slices.Contains(r.readers[job], account) {
		r.readers[job] = append(r.readers[job], account)
	}
	wait.VolumeMounts = append(wait.VolumeMounts, corev1.VolumeMount{Name: tokenVolume, MountPath: tokenDir, ReadOnly: true})
	if spec.ServiceAccountName != "" {
		return
	}
	spec.ServiceAccountName, spec.AutomountServiceAccountToken = account, new(false)
	spec.Volumes = append(spec.Volumes, corev1.Volume{Name: tokenVolume, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: new(int64(tokenSeconds))}},
			{ConfigMap: &corev1.ConfigMapProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}, Items: []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}},
			}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{
				{Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"}},
			}}},
		},
	}}})
}

// addReaders adds the accounts that may get Jobs, and a role for each Job.
func (r *orderer) addReaders() {
	namespace := cmp.Or(r.namespace, defaultNamespace)
	accounts := map[string]bool{}
	for _, job := range slices.Sorted(maps.Keys(r.readers)) {
		name := "wait-for-" + job
		meta := metav1.ObjectMeta{Name: name, Namespace: r.namespace}
		role := &rbacv1.Role{TypeMeta: typeMeta(rbacv1.SchemeGroupVersion.String(), "Role"), ObjectMeta: meta}
		role.Rules = []rbacv1.PolicyRule{{APIGroups: []string{"batch"}, Resources: []string{"jobs"}, ResourceNames: []string{job}, Verbs: []string{"get"}}}
		binding := &rbacv1.RoleBinding{TypeMeta: typeMeta(rbacv1.SchemeGroupVersion.String(), "RoleBinding"), ObjectMeta: meta}
		binding.RoleRef = rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name}
		slices.Sort(r.readers[job])
		for _, account := range r.readers[job] {
			accounts[account] = true
			binding.Subjects = append(binding.Subjects, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Name: account, Namespace: namespace})
		}
		r.stack.Shared = append(r.stack.Shared, role, binding)
	}
	for _, name := range slices.Sorted(maps.Keys(accounts)) {
		account := &corev1.ServiceAccount{TypeMeta: typeMeta("v1", "ServiceAccount"), AutomountServiceAccountToken: new(false)}
		account.ObjectMeta = metav1.ObjectMeta{Name: name, Namespace: r.namespace}
		r.stack.Shared = append(r.stack.Shared, account)
	}
}
