//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	authv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// account is Conductor's own account on the real API server. Its writes are dry runs: all rights and admission policies are checked, and
// nothing is written if one of them should fail to refuse.
type account struct {
	client client.Client
	kube   kubernetes.Interface
	config *rest.Config
	// stack is a namespace that Conductor created and pod one of its pods; foreign is a namespace that it did not create.
	stack, pod, foreign string
}

func newAccount(t *testing.T) *account {
	t.Helper()
	r := small(t, nil)
	run := r.test()
	if run.Status.Outcome != v1alpha1.OutcomePassed {
		t.Fatalf("outcome %s: %s", run.Status.Outcome, run.Status.Message)
	}
	a := &account{stack: run.Status.Namespace, foreign: "e2e-somebody"}
	a.pod = pods(t, a.stack)[0].Name
	token, err := here.Kube.CoreV1().ServiceAccounts(lab.Namespace).CreateToken(t.Context(), "conductor", &authv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a.config = rest.AnonymousClientConfig(here.Config)
	a.config.BearerToken, a.config.QPS, a.config.Burst = token.Status.Token, 100, 100
	a.config.WarningHandler = rest.NoWarnings{}
	if a.client, err = client.New(a.config, client.Options{Scheme: here.Client.Scheme()}); err != nil {
		t.Fatal(err)
	}
	a.client = client.NewDryRunClient(a.client)
	if a.kube, err = kubernetes.NewForConfig(a.config); err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: a.foreign}}
	if err := here.Client.Create(t.Context(), ns); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = here.Client.Delete(context.Background(), ns) })
	return a
}

// attempt is a request with Conductor's account.
type attempt struct {
	what string
	try  func(context.Context) error
}

// TestRightsEndWhereTheyShould tries with Conductor's own account what it must never do, and what it needs to do.
func TestRightsEndWhereTheyShould(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	var refusals []attempt
	for _, group := range [][]attempt{a.namespaces(), a.workloads(), a.beyond(), a.roles(), a.secrets(), a.intoPods()} {
		refusals = append(refusals, group...)
	}
	for _, c := range refusals {
		t.Run("refused/"+c.what, func(t *testing.T) {
			if err := c.try(t.Context()); !refused(err) {
				t.Errorf("%s: %v, want a refusal", c.what, err)
			}
		})
	}
	for _, c := range a.needs() {
		t.Run("works/"+c.what, func(t *testing.T) {
			if err := c.try(t.Context()); err != nil {
				t.Errorf("%s: %v", c.what, err)
			}
		})
	}
}

// refused reports whether rights or an admission policy of the chart refused.
func refused(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) && strings.Contains(err.Error(), "ValidatingAdmissionPolicy")
}

func (a *account) create(what string, o client.Object) attempt {
	return attempt{"create " + what, func(ctx context.Context) error { return a.client.Create(ctx, o.DeepCopyObject().(client.Object)) }}
}

func (a *account) remove(what string, o client.Object) attempt {
	return attempt{"delete " + what, func(ctx context.Context) error { return a.client.Delete(ctx, o) }}
}

func (a *account) patch(what string, o client.Object) attempt {
	return attempt{"patch " + what, func(ctx context.Context) error {
		return a.client.Patch(ctx, o, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"conductor.digitalservic.es/managed":"true"}}}`)))
	}}
}

// call is a raw request, such as to a subresource.
func (a *account) call(what, method, path string) attempt {
	return attempt{what, func(ctx context.Context) error {
		return a.kube.CoreV1().RESTClient().Verb(method).AbsPath(path).Body([]byte(`{}`)).Do(ctx).Error()
	}}
}

func meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

func space(name string, labels map[string]string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
}

func podSpec() corev1.PodSpec {
	return corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: new(false),
		Containers: []corev1.Container{{Name: "c", Image: "busybox:1.36"}},
	}
}

func job(namespace string) *batchv1.Job {
	return &batchv1.Job{ObjectMeta: meta(namespace, "tried"), Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: podSpec()}}}
}

// baseline are the labels of a namespace that Conductor is allowed to create.
var baseline = map[string]string{v1alpha1.LabelManaged: v1alpha1.ManagedValue, "pod-security.kubernetes.io/enforce": "baseline"}

func (a *account) namespaces() []attempt {
	all := []attempt{
		a.create("a namespace without the label", space("tried", nil)),
		a.create("a namespace with another label", space("tried", with(baseline, v1alpha1.LabelManaged, "no"))),
		a.create("a privileged namespace", space("tried", with(baseline, "pod-security.kubernetes.io/enforce", "privileged"))),
		a.patch("the namespace of a stack", space(a.stack, nil)),
	}
	for _, name := range []string{"default", "kube-system", lab.Namespace, lab.BuildsNamespace, a.foreign} {
		all = append(all, a.remove("namespace "+name, space(name, nil)), a.patch("namespace "+name, space(name, nil)))
	}
	return all
}

func (a *account) workloads() []attempt {
	var all []attempt
	for _, ns := range []string{"default", "kube-system", a.foreign, lab.Namespace, a.stack} {
		all = append(all, a.create("a pod in "+ns, &corev1.Pod{ObjectMeta: meta(ns, "tried"), Spec: podSpec()}))
	}
	for _, ns := range []string{"default", "kube-system", a.foreign, lab.Namespace} {
		all = append(all, a.create("a job in "+ns, job(ns)))
	}
	withToken := job(a.stack)
	withToken.Spec.Template.Spec.AutomountServiceAccountToken = nil
	for _, kind := range []corev1.ServiceType{corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeExternalName} {
		all = append(all, a.create("a service of type "+string(kind), service(a.stack, kind)))
	}
	projected := job(a.stack)
	projected.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}}},
	}}}}
	sources := job(a.stack)
	sources.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "registry", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "source-0123456789"}}}}
	stolen := service(a.stack, corev1.ServiceTypeClusterIP)
	stolen.Spec.ExternalIPs = []string{"192.0.2.1"}
	return append(all,
		a.create("a job with a token in a stack", withToken),
		a.create("a job with a token in a volume", projected),
		a.create("a job with the agent's registry credential", sources),
		a.create("a service on somebody else's address", stolen),
		a.patch("its own settings", &corev1.ConfigMap{ObjectMeta: meta(lab.Namespace, "conductor-config")}),
	)
}

func service(namespace string, kind corev1.ServiceType) *corev1.Service {
	s := &corev1.Service{ObjectMeta: meta(namespace, "tried"), Spec: corev1.ServiceSpec{Type: kind, Ports: []corev1.ServicePort{{Port: 80}}}}
	if kind == corev1.ServiceTypeExternalName {
		s.Spec.ExternalName = "metadata.google.internal"
	}
	return s
}

func (a *account) roles() []attempt {
	self := rbacv1.Subject{Kind: "ServiceAccount", Name: "conductor", Namespace: lab.Namespace}
	somebody := rbacv1.Subject{Kind: "ServiceAccount", Name: "default", Namespace: a.stack}
	bind := func(ns, role string, to rbacv1.Subject) *rbacv1.RoleBinding {
		return &rbacv1.RoleBinding{ObjectMeta: meta(ns, "tried"), Subjects: []rbacv1.Subject{to}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}}
	}
	rules := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}}}
	all := []attempt{
		a.create("a binding of cluster-admin to itself", &rbacv1.ClusterRoleBinding{
			ObjectMeta: meta("", "tried"), Subjects: []rbacv1.Subject{self}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		}),
		a.create("a binding of a stack's role to somebody else", bind(a.stack, "conductor-stack", somebody)),
		a.create("a role", &rbacv1.Role{ObjectMeta: meta(a.stack, "tried"), Rules: rules}),
		a.create("a cluster role", &rbacv1.ClusterRole{ObjectMeta: meta("", "tried"), Rules: rules}),
		a.patch("its own cluster role", &rbacv1.ClusterRole{ObjectMeta: meta("", "conductor")}),
		a.patch("the role of stacks", &rbacv1.ClusterRole{ObjectMeta: meta("", "conductor-stack")}),
	}
	for _, role := range []string{"cluster-admin", "admin", "edit", "view", "conductor"} {
		all = append(all, a.create("a binding of "+role+" to itself in a stack", bind(a.stack, role, self)))
	}
	for _, ns := range []string{"default", "kube-system", a.foreign, lab.Namespace, lab.BuildsNamespace} {
		all = append(all, a.create("a binding of the stacks' role in "+ns, bind(ns, "conductor-stack", self)))
	}
	return all
}

func (a *account) secrets() []attempt {
	var all []attempt
	for _, ns := range []string{lab.Namespace, lab.BuildsNamespace, a.stack, "default", "kube-system"} {
		secret := &corev1.Secret{ObjectMeta: meta(ns, "conductor-github")}
		all = append(all,
			attempt{"get a secret of " + ns, func(ctx context.Context) error {
				return a.client.Get(ctx, client.ObjectKeyFromObject(secret), &corev1.Secret{})
			}},
			attempt{"list the secrets of " + ns, func(ctx context.Context) error {
				return a.client.List(ctx, &corev1.SecretList{}, client.InNamespace(ns))
			}},
			attempt{"watch the secrets of " + ns, func(ctx context.Context) error {
				_, err := a.kube.CoreV1().Secrets(ns).Watch(ctx, metav1.ListOptions{})
				return err
			}},
			attempt{"update a secret of " + ns, func(ctx context.Context) error { return a.client.Update(ctx, secret.DeepCopy()) }},
			a.patch("a secret of "+ns, secret.DeepCopy()),
		)
	}
	return append(all,
		attempt{"list all secrets", func(ctx context.Context) error { return a.client.List(ctx, &corev1.SecretList{}) }},
		attempt{"delete all secrets of a stack", func(ctx context.Context) error {
			return a.client.DeleteAllOf(ctx, &corev1.Secret{}, client.InNamespace(a.stack))
		}},
		a.create("a secret in its own namespace", &corev1.Secret{ObjectMeta: meta(lab.Namespace, "tried")}),
	)
}

// intoPods are the ways into a running pod and into other accounts.
func (a *account) intoPods() []attempt {
	pod := "/api/v1/namespaces/" + a.stack + "/pods/" + a.pod
	var all []attempt
	for _, sub := range []string{"exec", "attach", "portforward"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			all = append(all, a.call(method+" "+sub, method, pod+"/"+sub))
		}
	}
	impersonating := rest.CopyConfig(a.config)
	impersonating.Impersonate = rest.ImpersonationConfig{UserName: "system:admin", Groups: []string{"system:masters"}}
	return append(all,
		a.call("proxy to a pod", http.MethodGet, pod+"/proxy/"),
		a.call("evict a pod", http.MethodPost, pod+"/eviction"),
		a.call("add an ephemeral container", http.MethodPut, pod+"/ephemeralcontainers"),
		a.call("proxy to a node", http.MethodGet, "/api/v1/nodes/node/proxy/pods"),
		a.call("list nodes", http.MethodGet, "/api/v1/nodes"),
		a.call("make a token in a stack", http.MethodPost, "/api/v1/namespaces/"+a.stack+"/serviceaccounts/default/token"),
		a.call("make a token for itself", http.MethodPost, "/api/v1/namespaces/"+lab.Namespace+"/serviceaccounts/conductor/token"),
		attempt{"impersonate", func(ctx context.Context) error {
			kube, err := kubernetes.NewForConfig(impersonating)
			if err != nil {
				return fmt.Errorf("make a client: %w", err)
			}
			_, err = kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
			return err
		}},
	)
}

// needs are the requests of the main job.
func (a *account) needs() []attempt {
	list := func(what string, l client.ObjectList, namespace string) attempt {
		return attempt{"list " + what, func(ctx context.Context) error { return a.client.List(ctx, l, client.InNamespace(namespace)) }}
	}
	return []attempt{
		a.create("a namespace", space("tried", baseline)),
		a.remove("the namespace of a stack", space(a.stack, nil)),
		a.create("a service", service(a.stack, corev1.ServiceTypeClusterIP)),
		a.create("a test job", job(a.stack)),
		a.create("a build job", job(lab.BuildsNamespace)),
		a.create("a secret in a stack", &corev1.Secret{ObjectMeta: meta(a.stack, "tried")}),
		a.create("a secret of a build", &corev1.Secret{ObjectMeta: meta(lab.BuildsNamespace, "tried")}),
		list("namespaces", &corev1.NamespaceList{}, ""),
		list("runs", &v1alpha1.RunList{}, lab.Namespace),
		list("pods of a stack", &corev1.PodList{}, a.stack),
		list("pods of builds", &corev1.PodList{}, lab.BuildsNamespace),
		a.call("read a log", http.MethodGet, "/api/v1/namespaces/"+a.stack+"/pods/"+a.pod+"/log"),
	}
}
