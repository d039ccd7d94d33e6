package house

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/santhosh-tekuri/jsonschema/v6"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

// valuesSchema returns the chart's schema, and a function that merges values into the chart's.
func valuesSchema(t *testing.T) (*jsonschema.Schema, func(string) any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(chartDir, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("values.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("values.json")
	if err != nil {
		t.Fatal(err)
	}
	return s, func(over string) any {
		values, mine := map[string]any{}, map[string]any{}
		parse(t, filepath.Join(chartDir, "values.yaml"), &values)
		if err := yaml.Unmarshal([]byte(over), &mine); err != nil {
			t.Fatal(err)
		}
		merge(values, mine)
		return values
	}
}

func TestValuesAreChecked(t *testing.T) {
	schema, with := valuesSchema(t)
	for _, good := range []string{leastValues, manyValues} {
		if err := schema.Validate(with(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		`{}`, // no registry, no App
		`{registry: {hots: x}}`, `{conductor: {}}`, `{stacks: {egres: []}}`, `{drain: {on: true}}`, `{builds: {retries: 3}}`,
		`{github: {appID: 0}}`, `{github: {appID: "1"}}`, `{github: {apiURL: github.com}}`, `{github: {existingSecret: ""}}`,
		`{registry: {host: "https://registry.example.com"}}`, `{registry: {type: harbour}}`,
		`{image: {digest: latest}}`, `{image: {pullPolicy: Sometimes}}`, `{replicas: 0}`, `{imagePullSecrets: [a]}`,
		`{builds: {timeout: 30}}`, `{builds: {timeout: soon}}`, `{builds: {timeout: 0s}}`, `{builds: {cpu: 2}}`, `{builds: {memory: lots}}`,
		`{stacks: {host: "{service}.example.com"}}`, `{stacks: {scheme: ftp}}`, `{stacks: {gateway: public}}`, `{stacks: {pods: -1}}`, `{stacks: {allow: [root]}}`, `{stacks: {allow: [devices, devices]}}`,
		`{stacks: {egress: [example.com]}}`, `{stacks: {egress: ["10.0.0.0"]}}`, `{stacks: {egress: ["10.0.0.0/33"]}}`,
		`{webhook: poll}`, `{triggers: {pullInterval: 0s}}`, `{ingress: {enabled: true}}`, `{service: {type: ExternalName}}`, `{triggers: {tags: [""]}}`, `{drain: {timeout: 90s}}`,
		`{deadlines: {record: 0s}}`, `{deadlines: {stages: 1m}}`, `{leaderElection: {leaseDuration: soon}}`,
	} {
		over := map[string]any{}
		if err := yaml.Unmarshal([]byte(leastValues), &over); err != nil {
			t.Fatal(err)
		}
		mine := map[string]any{}
		if err := yaml.Unmarshal([]byte(bad), &mine); err != nil {
			t.Fatal(err)
		}
		merge(over, mine)
		if bad == `{}` {
			over = mine
		}
		text, err := yaml.Marshal(over)
		if err != nil {
			t.Fatal(err)
		}
		if schema.Validate(with(string(text))) == nil {
			t.Errorf("%s passes", bad)
		}
	}
}

// TestEveryObjectOfTheSchemaIsClosed finds places where an unknown key would be accepted.
func TestEveryObjectOfTheSchemaIsClosed(t *testing.T) {
	var schema map[string]any
	parse(t, filepath.Join(chartDir, "values.schema.json"), &schema)
	// These are Kubernetes' own, which the API server checks.
	open := []string{"/properties/global", "/properties/tolerations/items"}
	var walk func(where string, v any)
	walk = func(where string, v any) {
		m, ok := v.(map[string]any)
		if !ok {
			return
		}
		if _, closed := m["additionalProperties"]; m["type"] == "object" && !closed && !slices.Contains(open, where) {
			t.Errorf("%s takes any key", where)
		}
		for k, v := range m {
			walk(where+"/"+k, v)
		}
	}
	walk("", schema)
}

// TestTheConfigIsWhatConductorReads reads the rendered config with Conductor's own parser, and checks that every value arrives.
func TestTheConfigIsWhatConductorReads(t *testing.T) {
	for name, values := range map[string]string{"least": leastValues, "many": manyValues} {
		r := render(t, values)
		text, _, _ := unstructured.NestedString(r.of("ConfigMap")[0].Object, "data", "config.yaml")
		set, err := settings.Parse([]byte(text))
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
			continue
		}
		if set.Namespace != "conductor" || set.ServiceAccount != "conductor" {
			t.Errorf("%s: namespace %s, account %s", name, set.Namespace, set.ServiceAccount)
		}
		if own := imageOf(r.of("Deployment")[0]); own == "" || set.Image != own {
			t.Errorf("%s: agents run the image %q, and Conductor itself %q", name, set.Image, own)
		}
		if name == "least" {
			want := settings.Default()
			set.GitHub, set.Registry, set.Image = want.GitHub, want.Registry, want.Image
			if d := cmp.Diff(want, set, cmpopts.EquateEmpty()); d != "" {
				t.Errorf("the chart's defaults are not Conductor's (-Conductor +chart):\n%s", d)
			}
		} else if set.GitHub.AppID != 123456789 || set.Stacks.Pods != 20 || !set.Keep.Forever || set.Registry.PullConfigFile == "" || len(set.Stacks.Egress) != 7 || len(set.Stacks.Allow) != 2 {
			t.Errorf("%s: values are lost: %+v", name, set)
		}
	}
}

// imageOf is the image of a workload's only container.
func imageOf(o unstructured.Unstructured) string {
	containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
	if len(containers) != 1 {
		return ""
	}
	c, _ := containers[0].(map[string]any)
	image, _ := c["image"].(string)
	return image
}

// TestTheQuickStartLetsBuildsOut: with the chart's default values builds reach nothing, and NOTES.txt warns about it.
func TestTheQuickStartLetsBuildsOut(t *testing.T) {
	const warning = "stacks.egress is empty"
	if notes := render(t, leastValues).text["NOTES.txt"]; !strings.Contains(notes, warning) {
		t.Errorf("notes of the defaults:\n%s", notes)
	}
	over := map[string]any{}
	parse(t, filepath.Join(chartDir, "values-quickstart.yaml"), &over)
	least := map[string]any{}
	if err := yaml.Unmarshal([]byte(leastValues), &least); err != nil {
		t.Fatal(err)
	}
	merge(over, least)
	schema, with := valuesSchema(t)
	values, err := yaml.Marshal(over)
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(with(string(values))); err != nil {
		t.Error(err)
	}
	r := render(t, string(values))
	if notes := r.text["NOTES.txt"]; strings.Contains(notes, warning) || !strings.Contains(notes, "every 30s") {
		t.Errorf("notes:\n%s", notes)
	}
	text, _, _ := unstructured.NestedString(r.of("ConfigMap")[0].Object, "data", "config.yaml")
	set, err := settings.Parse([]byte(text))
	if err != nil || len(set.Stacks.Egress) != 2 || set.Triggers.PollInterval.Duration != 30*time.Second {
		t.Errorf("%v: egress %v, polling every %s", err, set.Stacks.Egress, set.Triggers.PollInterval.Duration)
	}
}

// TestEverySettingIsAValue finds settings without a value, and values that would be unknown settings.
func TestEverySettingIsAValue(t *testing.T) {
	values := map[string]map[string]any{}
	all := map[string]any{}
	parse(t, filepath.Join(chartDir, "values.yaml"), &all)
	for k, v := range all {
		if m, ok := v.(map[string]any); ok {
			values[k] = m
		}
	}
	for key, group := range map[string]any{
		"builds": settings.Builds{}, "stacks": settings.Stacks{}, "keep": settings.Keep{}, "triggers": settings.Triggers{}, "retention": settings.Retention{},
		"memory": settings.Memory{}, "deadlines": settings.Deadlines{}, "leaderElection": settings.LeaderElection{},
	} {
		keys := map[string]bool{}
		for i := range reflect.TypeOf(group).NumField() {
			name, _, _ := strings.Cut(reflect.TypeOf(group).Field(i).Tag.Get("json"), ",")
			keys[name] = true
			if _, ok := values[key][name]; !ok {
				t.Errorf("the setting %s.%s is no value of the chart", key, name)
			}
		}
		for name := range values[key] {
			if !keys[name] {
				t.Errorf("the value %s.%s is no setting", key, name)
			}
		}
	}
}

// grants are the rules of every role in the chart.
func grants(t *testing.T, r release) map[string][]rbacv1.PolicyRule {
	t.Helper()
	all := map[string][]rbacv1.PolicyRule{}
	for _, kind := range []string{"Role", "ClusterRole"} {
		for _, o := range r.of(kind) {
			var role rbacv1.Role
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role); err != nil {
				t.Fatal(err)
			}
			all[kind+" "+o.GetNamespace()+"/"+o.GetName()] = role.Rules
		}
	}
	return all
}

// wrongs are the rights in a rule that no role of the chart may grant.
func wrongs(r rbacv1.PolicyRule) []string {
	var found []string
	never := []string{
		"pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "pods/ephemeralcontainers", "pods/eviction", "serviceaccounts/token",
		"users", "groups", "nodes", "nodes/proxy", "services/proxy", "clusterrolebindings", "roles", "customresourcedefinitions",
		"validatingadmissionpolicies", "validatingadmissionpolicybindings", "mutatingwebhookconfigurations", "certificatesigningrequests",
	}
	for _, s := range slices.Concat(r.APIGroups, r.Resources, r.Verbs) {
		if strings.Contains(s, "*") {
			found = append(found, "a wildcard")
		}
	}
	for _, res := range r.Resources {
		if slices.Contains(never, res) {
			found = append(found, res)
		}
	}
	for _, v := range r.Verbs {
		switch {
		case slices.Contains([]string{"impersonate", "escalate", "deletecollection"}, v):
			found = append(found, v)
		case slices.Contains(r.Resources, "secrets") && v != "create" && v != "delete":
			found = append(found, v+" secrets")
		case v == "bind" && !cmp.Equal(r.ResourceNames, []string{"conductor-stack", "conductor-agent"}):
			found = append(found, "bind any role")
		case slices.Contains(r.Resources, "clusterroles") && v != "bind":
			found = append(found, v+" cluster roles")
		case slices.Contains(r.Resources, "rolebindings") && v != "create":
			found = append(found, v+" role bindings")
		case slices.Contains(r.Resources, "namespaces") && (v == "update" || v == "patch"):
			found = append(found, v+" namespaces")
		case slices.Contains(r.Resources, "pods") && !slices.Contains([]string{"get", "list", "watch"}, v):
			found = append(found, v+" pods")
		case slices.Contains(r.Resources, "serviceaccounts") && !slices.Contains([]string{"get", "create", "patch", "delete"}, v):
			found = append(found, v+" service accounts")
		}
	}
	return found
}

func TestRightsAreNarrow(t *testing.T) {
	for _, values := range []string{leastValues, manyValues} {
		roles := grants(t, render(t, values))
		if len(roles) != 5 {
			t.Errorf("%d roles, want those of its own namespace, of builds, of the cluster, of stacks and of their agents", len(roles))
		}
		for _, rule := range roles["ClusterRole /conductor-agent"] {
			for _, v := range rule.Verbs {
				if !slices.Contains([]string{"get", "list", "watch"}, v) {
					t.Errorf("the agent may %s: %v", v, rule)
				}
			}
		}
		for name, rules := range roles {
			for _, rule := range rules {
				for _, w := range wrongs(rule) {
					t.Errorf("%s grants %s: %v", name, w, rule)
				}
			}
		}
	}
}

func TestWideRightsAreFound(t *testing.T) {
	for _, rule := range []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create", "patch"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"*"}},
		{APIGroups: []string{"*"}, Resources: []string{"pods"}, Verbs: []string{"get"}},
		{APIGroups: []string{""}, Resources: []string{"pods/exec"}, Verbs: []string{"create"}},
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"create"}},
		{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"patch"}},
		{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"clusterroles"}, Verbs: []string{"bind"}},
		{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"clusterroles"}, Verbs: []string{"bind"}, ResourceNames: []string{"conductor-stack", "admin"}},
		{APIGroups: []string{""}, Resources: []string{"users"}, Verbs: []string{"impersonate"}},
		{APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, Verbs: []string{"impersonate"}},
		{APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, Verbs: []string{"list"}},
		{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, Verbs: []string{"create"}},
	} {
		if len(wrongs(rule)) == 0 {
			t.Errorf("%v passes", rule)
		}
	}
}

// TestConductorsOwnPodsAreRestricted checks the chart's pods against the fields of Pod Security's restricted level that have to be set:
// https://kubernetes.io/docs/concepts/security/pod-security-standards/
func TestConductorsOwnPodsAreRestricted(t *testing.T) {
	r := render(t, manyValues)
	for _, o := range append(r.of("Deployment"), r.of("Job")...) {
		spec, _, _ := unstructured.NestedMap(o.Object, "spec", "template", "spec")
		at := func(from map[string]any, path ...string) any {
			v, _, _ := unstructured.NestedFieldNoCopy(from, path...)
			return v
		}
		if at(spec, "securityContext", "runAsNonRoot") != true || at(spec, "securityContext", "seccompProfile", "type") != "RuntimeDefault" {
			t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), spec["securityContext"])
		}
		containers, _, _ := unstructured.NestedSlice(spec, "containers")
		for _, c := range containers {
			sec, _ := c.(map[string]any)["securityContext"].(map[string]any)
			if sec["allowPrivilegeEscalation"] != false || sec["readOnlyRootFilesystem"] != true || !cmp.Equal(at(sec, "capabilities", "drop"), []any{"ALL"}) {
				t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), sec)
			}
		}
		if len(containers) != 1 {
			t.Errorf("%s %s has %d containers", o.GetKind(), o.GetName(), len(containers))
		}
	}
}

// TestPoliciesHoldConductorAlone checks what the API server does not: that each policy is bound, denies, fails closed, and applies only to
// Conductor's account. test/e2e checks on a real API server that they refuse what they should.
func TestPoliciesHoldConductorAlone(t *testing.T) {
	r := render(t, leastValues)
	bound := map[string]bool{}
	for _, b := range r.of("ValidatingAdmissionPolicyBinding") {
		name, _, _ := unstructured.NestedString(b.Object, "spec", "policyName")
		actions, _, _ := unstructured.NestedStringSlice(b.Object, "spec", "validationActions")
		bound[name] = cmp.Equal(actions, []string{"Deny"})
	}
	policies := r.of("ValidatingAdmissionPolicy")
	if len(policies) < 3 {
		t.Errorf("%d policies", len(policies))
	}
	for _, p := range policies {
		fail, _, _ := unstructured.NestedString(p.Object, "spec", "failurePolicy")
		conditions, _, _ := unstructured.NestedSlice(p.Object, "spec", "matchConditions")
		if !bound[p.GetName()] || fail != "Fail" || !strings.Contains(fmt.Sprint(conditions), "'system:serviceaccount:conductor:conductor'") {
			t.Errorf("%s: bound and denying %v, failurePolicy %s, conditions %v", p.GetName(), bound[p.GetName()], fail, conditions)
		}
	}
	if text := r.text["admission.yaml"]; !strings.Contains(text, "request.name.startsWith('conductor-tags-') || request.name == 'conductor-deliveries'") {
		t.Error("no policy keeps Conductor from writing its own configuration")
	}
}

// TestPoliciesAllowWhatTheOperatorAllows checks which rules beyond Pod Security's baseline are rendered.
func TestPoliciesAllowWhatTheOperatorAllows(t *testing.T) {
	for values, allow := range map[string][]v1alpha1.Allowance{leastValues: nil, manyValues: {v1alpha1.AllowDevices, v1alpha1.AllowSysctls}} {
		text := render(t, values).text["admission.yaml"]
		if opens := strings.Contains(text, "in ['baseline', 'restricted', 'privileged']"); opens != (len(allow) > 0) {
			t.Errorf("allowed %v: namespaces that enforce nothing %v", allow, opens)
		}
		for _, a := range v1alpha1.Allowances() {
			rule := fmt.Sprintf("(stacks.allow: %s)", a)
			if a == v1alpha1.AllowHostPaths || a == v1alpha1.AllowEngine || a == v1alpha1.AllowDevices {
				rule = "(stacks.allow: hostPaths, containerEngine, devices)" // One rule for all of them, with those that are allowed.
			} else if strings.Contains(text, rule) == slices.Contains(allow, a) {
				t.Errorf("allowed %v: the rule for %s is there, or not", allow, a)
			}
			if !slices.Contains(allow, a) && !strings.Contains(text, rule) {
				t.Errorf("allowed %v: nothing refuses %s", allow, a)
			}
		}
		if strings.Contains(text, "startsWith('/dev/')") != slices.Contains(allow, v1alpha1.AllowDevices) || strings.Contains(text, "docker|podman") {
			t.Errorf("allowed %v: the rule for paths of the node is another", allow)
		}
	}
}

// TestBuildsAreFencedInAsStacksAre compares the egress of builds, from the chart, with that of stacks, from Conductor.
func TestBuildsAreFencedInAsStacksAre(t *testing.T) {
	r := render(t, manyValues)
	builds := networkPolicy(t, r.of("NetworkPolicy"), "builds")
	var egress []string
	parsed := struct{ Stacks struct{ Egress []string } }{}
	if err := yaml.Unmarshal([]byte(manyValues), &parsed); err != nil {
		t.Fatal(err)
	}
	egress = parsed.Stacks.Egress
	stack, err := jobs.EgressPolicy(&v1alpha1.Run{}, egress)
	if err != nil {
		t.Fatal(err)
	}
	outside := func(p *networkingv1.NetworkPolicy) []string {
		var all []string
		for _, rule := range p.Spec.Egress {
			for _, to := range rule.To {
				if to.IPBlock != nil {
					text, err := json.Marshal([]any{to.IPBlock, rule.Ports})
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, string(text))
				}
			}
		}
		slices.Sort(all)
		return all
	}
	if d := cmp.Diff(outside(stack), outside(builds)); d != "" || len(outside(stack)) < len(egress) {
		t.Errorf("builds reach something else outside than stacks (-stacks +builds):\n%s", d)
	}
	if len(builds.Spec.Ingress) != 0 || len(builds.Spec.PolicyTypes) != 2 || len(builds.Spec.PodSelector.MatchLabels) != 0 {
		t.Errorf("builds are not closed: %+v", builds.Spec)
	}
}

func networkPolicy(t *testing.T, all []unstructured.Unstructured, name string) *networkingv1.NetworkPolicy {
	t.Helper()
	for _, o := range all {
		if o.GetName() == name {
			var p networkingv1.NetworkPolicy
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &p); err != nil {
				t.Fatal(err)
			}
			return &p
		}
	}
	t.Fatalf("no NetworkPolicy %s", name)
	return nil
}
