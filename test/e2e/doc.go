// Package e2e holds the end-to-end tests: a real Kubernetes, a GitHub for tests, and Conductor, installed from this source with its
// chart. They check what people see on GitHub, what the kubelet ran, and what is left behind.
//
// They need the build tag e2e; `make e2e RUN=Regexp` runs a part.
package e2e
