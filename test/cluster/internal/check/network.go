package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
)

const port = 8080

// pod is a small pod that runs a shell command, its image pulled anew.
func (c *checker) pod(name, command string) *corev1.Pod {
	no, grace := false, int64(0)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken:  &no,
			EnableServiceLinks:            &no,
			TerminationGracePeriodSeconds: &grace,
			RestartPolicy:                 corev1.RestartPolicyNever,
			Containers: []corev1.Container{{
				Name: "main", Image: c.Image, ImagePullPolicy: corev1.PullAlways,
				Command: []string{"sh", "-c", command},
				Resources: corev1.ResourceRequirements{
					Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("8Mi")},
				},
			}},
		},
	}
}

// network has a server in one namespace and a client in each: both reach it
// by its service's name; then a policy lets in only its own namespace, and the
// other client must be cut off.
func (c *checker) network(ctx context.Context) error {
	server := c.pod("server", fmt.Sprintf("mkdir -p /tmp/www && echo here >/tmp/www/index.html && exec httpd -f -p %d -h /tmp/www", port))
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "server"}, Spec: corev1.ServiceSpec{
		Selector: server.Labels, Ports: []corev1.ServicePort{{Port: port}},
	}}
	if _, err := c.client.CoreV1().Services(c.name).Create(ctx, service, metav1.CreateOptions{}); err != nil {
		return err
	}
	for namespace, pod := range map[string]*corev1.Pod{c.name: server, c.other: c.pod("client", "exec sleep 3600")} {
		if _, err := c.client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	if err := errors.Join(c.running(ctx, c.name, "server"), c.running(ctx, c.other, "client")); err != nil {
		return err
	}
	full := "server." + c.name + ".svc.cluster.local"
	if err := poll(ctx, func() error { return c.reach(ctx, c.other, "client", full) }); err != nil {
		return fmt.Errorf("a service by its full name, from another namespace: %w", err)
	}
	if err := poll(ctx, func() error { return c.reach(ctx, c.name, "server", "server") }); err != nil {
		return fmt.Errorf("a service by its short name: %w", err)
	}
	return c.cut(ctx, full)
}

func (c *checker) cut(ctx context.Context, server string) error {
	policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "own-namespace"}, Spec: networkingv1.NetworkPolicySpec{
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
		Ingress:     []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}}}},
	}}
	if _, err := c.client.NetworkingV1().NetworkPolicies(c.name).Create(ctx, policy, metav1.CreateOptions{}); err != nil {
		return err
	}
	err := poll(ctx, func() error {
		err := c.reach(ctx, c.other, "client", server)
		if errors.As(err, &exec.CodeExitError{}) {
			return nil // the client ran, and was not let through
		}
		if err == nil {
			err = errors.New("the connection that a network policy forbids is still made: nothing enforces network policies")
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := c.reach(ctx, c.name, "server", "server"); err != nil {
		return fmt.Errorf("the policy cuts off its own namespace too: %w", err)
	}
	return nil
}

// reach fetches the server's page from within a pod.
func (c *checker) reach(ctx context.Context, namespace, pod, server string) error {
	answer, err := c.exec(ctx, namespace, pod, fmt.Sprintf("timeout 2 wget -q -O - http://%s:%d/", server, port))
	if err == nil && !strings.Contains(answer, "here") {
		err = fmt.Errorf("it answers %q", answer)
	}
	return err
}

func (c *checker) exec(ctx context.Context, namespace, pod, command string) (string, error) {
	request := c.client.CoreV1().RESTClient().Post().Namespace(namespace).Resource("pods").Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: []string{"sh", "-c", command}, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(c.config, "GET", request.URL().String())
	if err != nil {
		return "", err
	}
	var out, problem bytes.Buffer
	if err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &out, Stderr: &problem}); err != nil {
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(problem.String()))
	}
	return out.String(), nil
}

// running waits until a pod runs, or has ended well.
func (c *checker) running(ctx context.Context, namespace, name string) error {
	return poll(ctx, func() error {
		p, err := c.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil || p.Status.Phase == corev1.PodRunning || p.Status.Phase == corev1.PodSucceeded {
			return err
		}
		return errors.New(describe(p))
	})
}

// volume has a pod write into a claim of the default StorageClass.
func (c *checker) volume(ctx context.Context) error {
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")}},
	}}
	if _, err := c.client.CoreV1().PersistentVolumeClaims(c.name).Create(ctx, claim, metav1.CreateOptions{}); err != nil {
		return err
	}
	pod := c.pod("writer", "echo kept >/data/file && cat /data/file")
	pod.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim.Name},
	}}}
	pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	if _, err := c.client.CoreV1().Pods(c.name).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return err
	}
	if err := c.running(ctx, c.name, pod.Name); err != nil {
		return err
	}
	return poll(ctx, func() error {
		got, err := c.client.CoreV1().PersistentVolumeClaims(c.name).Get(ctx, claim.Name, metav1.GetOptions{})
		if err == nil && got.Status.Phase != corev1.ClaimBound {
			err = fmt.Errorf("claim is %s", got.Status.Phase)
		}
		return err
	})
}
