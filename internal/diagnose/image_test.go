package diagnose

import (
	"strings"
	"testing"
)

// TestWhatARegistryAnswered classifies messages that kubelets get from their runtimes: containerd 1.6 (github.com/pkg/errors, "pulling from
// host"), containerd 1.7 and 2 ("unexpected status from"), Docker by way of cri-dockerd ("Error response from daemon"), CRI-O ("pinging
// container registry").
func TestWhatARegistryAnswered(t *testing.T) {
	const (
		pull    = `failed to pull and unpack image "registry.example:5000/acme/web:1": `
		resolve = pull + `failed to resolve reference "registry.example:5000/acme/web:1": `
		request = resolve + `failed to do request: Head "https://registry.example:5000/v2/acme/web/manifests/1": `
		layer   = pull + `failed to copy: httpReadSeeker: failed open: `
		blob    = `https://registry.example:5000/v2/acme/web/blobs/sha256:566e42bcee1cd697dcab6098c082789af33bc8cbcbaa95c8adbad87283c85c75`
		unknown = `rpc error: code = Unknown desc = `
	)
	for _, tc := range []struct {
		name, message string
		want          answer
	}{
		{"refused", request + "dial tcp 192.0.2.1:5000: connect: connection refused", unreachable},
		{"refused, with its gRPC code", unknown + request + "dial tcp 192.0.2.1:5000: connect: connection refused", unreachable},
		{"no route", request + "dial tcp 192.0.2.1:5000: connect: no route to host", unreachable},
		{"no network", request + "dial tcp 192.0.2.1:5000: connect: network is unreachable", unreachable},
		{"silent", request + "dial tcp 192.0.2.1:5000: i/o timeout", unreachable},
		{"silent to a connection that is open", request + "read tcp 192.0.2.9:41234->192.0.2.1:5000: i/o timeout", unreachable},
		{"reset", request + "read tcp 192.0.2.9:41234->192.0.2.1:5000: read: connection reset by peer", unreachable},
		{"no name", request + "dial tcp: lookup registry.example on 192.0.2.53:53: no such host", unreachable},
		{"no name server", request + "dial tcp: lookup registry.example on 192.0.2.53:53: server misbehaving", unreachable},
		{"handshake", request + "net/http: TLS handshake timeout", unreachable},
		{"closed before an answer", request + "EOF", unreachable},
		{"closed within an answer", unknown + pull + "failed to copy: unexpected EOF", unreachable},
		{"closed within a layer", unknown + layer + `failed to do request: Get "` + blob + `": EOF`, unreachable},
		{"HTTP/2", pull + "failed to copy: stream error: stream ID 7; INTERNAL_ERROR; received from peer", unreachable},
		{"no progress, which containerd cancels", unknown + pull + "context canceled", unreachable},
		{"a token's server", resolve + `failed to authorize: failed to fetch anonymous token: Get "https://auth.example/token": dial tcp 192.0.2.2:443: connect: connection refused`, unreachable},
		{"Docker", unknown + "Error response from daemon: Get https://registry-1.docker.io/v2/: net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)", unreachable},
		{"CRI-O", unknown + "pinging container registry registry.example:5000: Get \"https://registry.example:5000/v2/\": dial tcp 192.0.2.1:5000: connect: connection refused", unreachable},
		{"CRI-O, which the kubelet knows", "image pull failed for registry.example:5000/acme/web:1 because the registry is unavailable: pinging container registry", unreachable},

		{"503 of containerd 1.6", resolve + "pulling from host registry.example:5000 failed with status code [manifests 1]: 503 Service Unavailable", overloaded},
		{"503 of containerd 2", resolve + "unexpected status from HEAD request to https://registry.example:5000/v2/acme/web/manifests/1: 503 Service Unavailable", overloaded},
		{"503 in a proxy's words", resolve + "unexpected status from HEAD request to https://registry.example:5000/v2/acme/web/manifests/1: 503 Service Temporarily Unavailable", overloaded},
		{"500 of a layer", layer + "unexpected status code " + blob + ": 500 Internal Server Error - Server message: unknown: unknown error", overloaded},
		{"502 of a token's server", resolve + "failed to authorize: failed to fetch oauth token: unexpected status from POST request to https://auth.example/token: 502 Bad Gateway", overloaded},
		{"429", layer + "unexpected status code https://registry-1.docker.io/v2/library/redis/manifests/sha256:8d0b: 429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit.", overloaded},

		{"401 of containerd 1.6", resolve + "pulling from host registry.example:5000 failed with status code [manifests 1]: 401 Unauthorized", denied},
		{"401 of containerd 2", resolve + "unexpected status from HEAD request to https://registry.example:5000/v2/acme/web/manifests/1: 401 Unauthorized", denied},
		{"no credential", resolve + "pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials", denied},
		{"scope", resolve + "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed", denied},
		{"403 of a token's server", resolve + "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://ghcr.io/token?service=ghcr.io: 403 Forbidden", denied},
		{"403 of a layer", layer + "unexpected status code " + blob + ": 403 Forbidden", denied},
		{"Docker's 401", unknown + "Error response from daemon: unauthorized: authentication required", denied},

		{"404", "rpc error: code = NotFound desc = " + resolve + "registry.example:5000/acme/web:1: not found", missing},
		{"404 of a layer", layer + "content at " + blob + " not found: not found", missing},
		{"Docker's 404", unknown + "Error response from daemon: manifest for acme/web:1 not found: manifest unknown: manifest unknown", missing},

		{"an unknown authority", request + "tls: failed to verify certificate: x509: certificate signed by unknown authority", untrusted},
		{"plain HTTP", request + "http: server gave HTTP response to HTTPS client", untrusted},
		{"not TLS", request + "tls: first record does not look like a TLS handshake", untrusted},

		{"the runtime is away", `rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial unix /run/containerd/containerd.sock: connect: connection refused"`, runtimeAway},
		{"no words", "", unreported},

		{"another platform", "rpc error: code = NotFound desc = " + pull + "no match for platform in manifest: not found", missing},
		{"no room", pull + `failed to extract layer sha256:8d0b: write /var/lib/containerd/tmp: no space left on device: unknown`, unknownAnswer},
		{"a name with numbers", `failed to pull and unpack image "registry.example:5000/acme/web:503": mismatched image rootfs and manifest layers`, unknownAnswer},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := answerOf(tc.message); got != tc.want {
				t.Errorf("%q is answer %d, want %d", tc.message, got, tc.want)
			}
		})
	}
}

// TestABuildThatLostAHost reads the last lines of Kaniko's logs.
func TestABuildThatLostAHost(t *testing.T) {
	const host = "registry.example:5000"
	for _, tc := range []struct {
		name, log, want string
	}{
		{"pushing", "INFO[0003] Pushing image to registry.example:5000/acme/web:1\nerror pushing image: failed to push to destination registry.example:5000/acme/web:1: " +
			`Head "http://registry.example:5000/v2/acme/web/blobs/sha256:8d0b": dial tcp 192.0.2.1:5000: connect: connection refused` + "\n", host},
		{"pulling", `error building image: Get "http://registry.example:5000/v2/": dial tcp 192.0.2.1:5000: connect: connection refused`, host},
		{"503", "error building image: GET http://registry.example:5000/v2/library/busybox/manifests/1.36: unexpected status code: 503 Service Unavailable", host},
		{"an instruction that fails", "curl: (7) Failed to connect to registry.example:5000: connection refused\n" +
			"error building image: error building stage: failed to execute command: waiting for process to exit: exit status 7", ""},
		{"another host", `error building image: Get "https://other.example/v2/": dial tcp 192.0.2.2:443: connect: connection refused`, ""},
		{"no base image", "error building image: GET http://registry.example:5000/v2/library/nope/manifests/1: MANIFEST_UNKNOWN: manifest unknown", ""},
		{"nothing", "", ""},
		{"cloning", `Error: error resolving source context: Get "https://github.example/acme/shop.git/info/refs?service=git-upload-pack": dial tcp 192.0.2.3:443: i/o timeout`, "github.example"},
		{"a base image", `error building image: Get "https://index.docker.io/v2/": dial tcp 192.0.2.4:443: i/o timeout`, "docker.io"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := BuildAdvice(tc.log, host, "github.example")
			if (got != "") != (tc.want != "") || !strings.Contains(got, tc.want) || strings.Contains(got, "stacks.egress") != (tc.want != "" && tc.want != host) {
				t.Errorf("BuildAdvice(%q) = %q, want one about %q", tc.log, got, tc.want)
			}
		})
	}
}
