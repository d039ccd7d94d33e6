//go:build e2e && long

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// TestPublicAddresses has Traefik serve the public addresses of stacks, as a Gateway and as an ingress controller, in a pod to which
// network policies apply.
func TestPublicAddresses(t *testing.T) {
	extra(t, "traefik")
	t.Cleanup(func() { reinstall(context.Background(), t, values) })
	for _, tc := range []struct {
		name   string
		stacks map[string]any
		taken  func(t *testing.T, namespace string) error
		keep   string
		end    func(*repo, *v1alpha1.Run)
	}{
		{"HTTPRoute", map[string]any{"gateway": "traefik/public"}, routeTaken, "30s", func(*repo, *v1alpha1.Run) {}},
		{"Ingress", map[string]any{"ingressClass": "traefik"}, ingressTaken, "1h", (*repo).takenDown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			reinstall(t.Context(), t, map[string]any{"stacks": publicly(tc.stacks)})
			r, run := inPublic(t, tc.keep)
			web := serviceOf(t, run, "web")
			if web.URL == "" || web.URLProblem != "" {
				t.Fatalf("web is reached at %q: %s", web.URL, web.URLProblem)
			}
			contains(t, "comment", r.comment(run), "[`"+web.URL+"`]("+web.URL+")")
			eventually(t, 20*time.Second, func() error { return served(t, web.URL, "hello from web") })
			if err := tc.taken(t, run.Status.Namespace); err != nil {
				t.Error(err)
			}
			if hidden := serviceOf(t, run, "hidden"); hidden.URL != "" {
				t.Errorf("nobody asked for an address of hidden, which has %s", hidden.URL)
			}
			if err := served(t, strings.Replace(web.URL, "//web-", "//hidden-", 1), ""); err == nil {
				t.Error("the host name of a service that is not public is served")
			}
			fromIngress(t, run)
			tc.end(r, run)
			r.gone(run)
			eventually(t, 20*time.Second, func() error {
				if err := served(t, web.URL, ""); err == nil {
					return errors.New("the stack is gone, and its address is served")
				}
				return nil
			})
			eventually(t, patience, func() error {
				if comment := r.comment(run); strings.Contains(comment, "("+web.URL+")") {
					return fmt.Errorf("the comment still shows the address of a stack that is gone:\n%s", comment)
				}
				return nil
			})
		})
	}
	t.Run("Refused", func(t *testing.T) {
		closed := `{"apiVersion":"gateway.networking.k8s.io/v1","kind":"Gateway","metadata":{"name":"closed","namespace":"traefik"},
			"spec":{"gatewayClassName":"traefik","listeners":[{"name":"web","protocol":"HTTP","port":8000,"allowedRoutes":{"namespaces":{"from":"Same"}}}]}}`
		cmd := here.Command(t.Context(), "kubectl", "apply", "--server-side", "-f", "-")
		cmd.Stdin = strings.NewReader(closed)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		unserved(t, "traefik/closed", "the Gateway traefik/closed rejected it", "allowedRoutes")
	})
	t.Run("NoGateway", func(t *testing.T) {
		unserved(t, "traefik/nowhere", "the HTTPRoute web-8080 is not served", "check that the Gateway traefik/nowhere (stacks.gateway) exists")
	})
}

// extra runs an optional part in the cluster until the end of the test.
func extra(t *testing.T, name string) {
	t.Helper()
	t.Cleanup(func() {
		if err := here.Drop(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	if err := here.Add(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

// publicly are the operator's settings for stacks with public addresses that Traefik serves.
func publicly(more map[string]any) map[string]any {
	stacks := map[string]any{"host": "{service}-{run}.qa.example.com", "scheme": "http", "ingressNamespaces": []any{"traefik"}}
	for k, v := range more {
		stacks[k] = v
	}
	return stacks
}

// inPublic runs a stack of two services, one of them public.
func inPublic(t *testing.T, keep string) (*repo, *v1alpha1.Run) {
	t.Helper()
	one := func(name string) string {
		return fmt.Sprintf(`  %[1]s:
    image: busybox:1.36
    command: sh -c "mkdir /www && echo hello from %[1]s > /www/index.html && exec httpd -f -p 8080 -h /www"
    expose: ["8080"]
    healthcheck: {test: wget -q -O /dev/null http://127.0.0.1:8080/, interval: 1s, timeout: 2s, retries: 30}
    stop_grace_period: 1s
`, name)
	}
	r := small(t, map[string]string{
		".conductor.yaml":       "version: 1\nkeep: " + keep + "\nstack:\n  public:\n    - {service: web, port: 8080}\ntests:\n  smoke: sh /test.sh\n",
		"docker-compose.qa.yml": "services:\n" + one("web") + one("hidden"),
	})
	run := r.test()
	if run.Status.Outcome != v1alpha1.OutcomePassed {
		t.Fatalf("outcome %s: %s", run.Status.Outcome, run.Status.Message)
	}
	return r, run
}

// unserved runs with a Gateway that does not serve the stack's routes: the tests pass, and the comment explains why the address does not
// work.
func unserved(t *testing.T, gateway string, words ...string) {
	reinstall(t.Context(), t, map[string]any{"stacks": publicly(map[string]any{"gateway": gateway})})
	r, run := inPublic(t, "1h")
	eventually(t, patience, func() error {
		run = r.get(run)
		if serviceOf(t, run, "web").URLProblem == "" {
			return fmt.Errorf("web is said to be reached at %s", serviceOf(t, run, "web").URL)
		}
		return nil
	})
	web := serviceOf(t, run, "web")
	eventually(t, patience, func() error {
		comment := strings.ReplaceAll(r.comment(run), `\`, "")
		for _, w := range append(words, "⚠️ `"+web.URL+"`", "⚠️ `web`: The address does not work: ") {
			if !strings.Contains(comment, w) {
				return fmt.Errorf("the comment does not say %q:\n%s", w, comment)
			}
		}
		return nil
	})
	t.Log(web.URLProblem)
	if err := served(t, web.URL, ""); err == nil {
		t.Error("the address is served")
	}
}

// serviceOf returns a service of a run.
func serviceOf(t *testing.T, run *v1alpha1.Run, name string) v1alpha1.ServiceStatus {
	t.Helper()
	for _, s := range run.Status.Services {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("run %s has no service %s", run.Name, name)
	return v1alpha1.ServiceStatus{}
}

// served requests an address from Traefik, as a browser whose DNS resolves to the node, and returns an error unless it gets the text.
func served(t *testing.T, address, want string) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+net.JoinHostPort(here.NodeIP, "30880")+"/", nil)
	if err != nil {
		return err
	}
	req.Host = u.Host
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1024))
	if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
		return fmt.Errorf("%s is answered with %s %q %w", address, res.Status, body, err)
	}
	return nil
}

// routeTaken returns an error unless a stack's route is accepted.
func routeTaken(t *testing.T, namespace string) error {
	for _, kind := range []string{"Accepted", "ResolvedRefs"} {
		out, err := here.Kubectl(t.Context(), "-n", namespace, "get", "httproutes", "-o",
			`jsonpath={.items[*].status.parents[*].conditions[?(@.type=="`+kind+`")].status}`)
		if err != nil || out != "True" {
			return fmt.Errorf("%s of the route is %q, %w", kind, out, err)
		}
	}
	return nil
}

// ingressTaken returns an error unless a controller has accepted a stack's Ingress.
func ingressTaken(t *testing.T, namespace string) error {
	list, err := here.Kube.NetworkingV1().Ingresses(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		return err
	}
	if at := one(t, "ingress", list.Items).Status.LoadBalancer.Ingress; len(at) != 1 || at[0].IP != here.NodeIP {
		return fmt.Errorf("the ingress is at %v, want %s", at, here.NodeIP)
	}
	return nil
}

// fromIngress checks from the ingress controller's namespace that it can reach a stack's public service and nothing else.
func fromIngress(t *testing.T, run *v1alpha1.Run) {
	t.Helper()
	name := "probe-" + run.Name
	out, err := here.Kubectl(t.Context(), "-n", "traefik", "run", name, "--image=busybox:1.36", "--restart=Never", "--command", "--", "sleep", "600")
	if err != nil {
		t.Fatal(err, out)
	}
	reaches := func(service string) error {
		for _, p := range pods(t, run.Status.Namespace) {
			if p.Labels[v1alpha1.LabelService] == service {
				_, err := here.Kubectl(t.Context(), "-n", "traefik", "exec", name, "--", "sh", "-c", "nc -w 2 "+p.Status.PodIP+" 8080 </dev/null")
				return err
			}
		}
		return fmt.Errorf("%s has no pod", service)
	}
	eventually(t, patience, func() error { return reaches("web") })
	// A new pod is not filtered for a moment.
	eventually(t, patience, func() error {
		if reaches("hidden") == nil {
			return errors.New("the ingress controller's namespace reaches a service that is not public")
		}
		return nil
	})
	if err := reaches("web"); err != nil {
		t.Errorf("the ingress controller's namespace does not reach the public service any more: %v", err)
	}
}
