// Package e2e holds the end-to-end tests: a real Kubernetes, a GitHub that behaves, and Conductor, installed by its chart from
// this source. What they assert is what people see on GitHub, what a kubelet ran, and what is left behind.
//
// They need the build tag e2e; `make e2e RUN=Regexp` runs a part.
package e2e
