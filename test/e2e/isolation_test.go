//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// probe tries to connect to each address and prints the result. A new pod is not filtered for a moment, so a connection counts as blocked
// once it is blocked, and as open only if it stays open.
const probe = `#!/bin/sh
open() { nc -w 1 "$1" "$2" </dev/null >/dev/null 2>&1; }
while read -r name host port; do
  state=open
  for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    open "$host" "$port" || { state=blocked; break; }
    sleep 1
  done
  echo "$name is $state"
done <<LIST
%s
LIST
nslookup %s >/dev/null && echo "names resolve"
for i in 1 2 3 4 5; do
  out=$(wget -q -T 2 -O - http://web:8080/) && echo "own service says: $out" && exit 0
done
exit 1
`

// TestStacksAreIsolated runs a test that tries to leave its stack. Each address does accept connections, from a pod of the neighbour's own
// stack or from this machine.
func TestStacksAreIsolated(t *testing.T) {
	t.Parallel()
	neighbour := small(t, nil)
	there := neighbour.test()
	if there.Status.Outcome != v1alpha1.OutcomePassed {
		t.Fatalf("the neighbour is not up: %s", there.Status.Message)
	}
	contains(t, "the neighbour's own test", neighbour.check(there, "smoke").Text, "web says: hello from web")

	walled(t, there)
	targets := isolationTargets(t, there)
	// Once its tests have ended, connections from outside are blocked, too, including those from this machine.
	eventually(t, patience, func() error {
		c, err := net.DialTimeout("tcp", targets["neighbour-by-address"], time.Second)
		if err == nil {
			c.Close()
			return fmt.Errorf("this machine reaches into the stack at %s", c.RemoteAddr())
		}
		return nil
	})
	var list []string
	for name, address := range targets {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, strings.Join([]string{name, host, port}, " "))
	}
	name := "web." + there.Status.Namespace + ".svc.cluster.local"
	r := small(t, map[string]string{"test.sh": fmt.Sprintf(probe, strings.Join(list, "\n"), name)})
	run := r.test()
	log := r.check(run, "smoke").Text
	for name := range targets {
		contains(t, "the test's log", log, name+" is blocked")
	}
	contains(t, "the test's log", log, "names resolve", "own service says: hello from web")
	if run.Status.Outcome != v1alpha1.OutcomePassed {
		t.Errorf("outcome %s: %s", run.Status.Outcome, run.Status.Message)
	}
}

// walled tries to connect to a stack from this machine, which must fail once the tests have ended.
func walled(t *testing.T, run *v1alpha1.Run) {
	t.Helper()
	pods, err := here.Kube.CoreV1().Pods(run.Status.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: v1alpha1.LabelService + "=web"})
	if err != nil || len(pods.Items) != 1 {
		t.Fatalf("%d pods of web, %v", len(pods.Items), err)
	}
	eventually(t, 20*time.Second, func() error {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(pods.Items[0].Status.PodIP, "8080"), time.Second)
		if err != nil {
			return nil
		}
		conn.Close()
		return fmt.Errorf("a stranger reaches %s", pods.Items[0].Name)
	})
}

// isolationTargets are addresses that a stack must not reach, by name; names have no spaces.
func isolationTargets(t *testing.T, neighbour *v1alpha1.Run) map[string]string {
	t.Helper()
	api, err := here.Kube.CoreV1().Services("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	hook, err := here.Kube.CoreV1().Services(lab.Namespace).Get(t.Context(), "conductor", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]string{
		"neighbour-by-name": "web." + neighbour.Status.Namespace + ".svc.cluster.local:8080",
		"API-server":        net.JoinHostPort(api.Spec.ClusterIP, "443"),
		"Conductor":         net.JoinHostPort(hook.Spec.ClusterIP, fmt.Sprint(hook.Spec.Ports[0].Port)),
		"kubelet":           net.JoinHostPort(here.NodeIP, "10250"),
		"webhook-node-port": strings.TrimSuffix(strings.TrimPrefix(here.WebhookURL(), "http://"), "/webhook"),
	}
	for _, p := range pods(t, neighbour.Status.Namespace) {
		if p.Labels[v1alpha1.LabelService] == "web" {
			targets["neighbour-by-address"] = net.JoinHostPort(p.Status.PodIP, "8080")
		}
	}
	for name, address := range targets {
		if strings.HasPrefix(name, "neighbour") {
			continue // This machine cannot reach it either; the neighbour's own test has.
		}
		c, err := net.DialTimeout("tcp", address, 3*time.Second)
		if err != nil {
			t.Fatalf("%s does not answer, so that a stack's failure to reach it proves nothing: %v", name, err)
		}
		c.Close()
	}
	if targets["neighbour-by-address"] == "" {
		t.Fatal("the neighbour has no pod")
	}
	return targets
}
