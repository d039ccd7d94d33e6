//go:build e2e

package e2e

import (
	"fmt"
	"strings"

	"github.com/w3evolutionsllc/conductor/test/lab"
)

const (
	// smokeOnly is a .conductor.yaml with one suite, without builds: the cost of a build is in its own pod, not in Conductor.
	smokeOnly = "version: 1\ntests:\n  smoke: {image: \"busybox:1.36\", command: echo all is well}\n"
	// idleWeb is a stack of one service that does nothing.
	idleWeb = "services:\n  web:\n    image: busybox:1.36\n    command: sleep 3600\n    stop_grace_period: 1s\n"
)

// repositoryOf fills a tree with the files that every repository here has.
func repositoryOf(tree *lab.Tree, config, compose string) {
	tree.Text(".conductor.yaml", config)
	tree.Text("docker-compose.qa.yml", compose)
}

// Attack A1: files that the stack mounts. Each directory has mountedFiles files of mountedSize, all of them one blob.
const (
	mountedFiles = 4
	mountedSize  = 890 << 10
)

// mountsOf is the list of a service's mounts of a number of directories, below /m.
func mountsOf(tree *lab.Tree, directories int) string {
	content := tree.Blob(noise(1, mountedSize))
	list := &strings.Builder{}
	for d := range directories {
		for f := range mountedFiles {
			tree.File(fmt.Sprintf("d%d/f%d", d, f), content)
		}
		fmt.Fprintf(list, "      - ./d%d:/m/d%d:ro\n", d, d)
	}
	return list.String()
}

// mounts is a service that mounts a number of directories.
func mounts(directories int) func(*lab.Tree) {
	return func(tree *lab.Tree) {
		repositoryOf(tree, smokeOnly, idleWeb+"    volumes:\n"+mountsOf(tree, directories))
	}
}

// ports is attack A2: services that share a list of ranges of 1,000 ports each.
func ports(ranges, services int) func(*lab.Tree) {
	return func(tree *lab.Tree) {
		compose := &strings.Builder{}
		fmt.Fprint(compose, "x-service: &service\n  image: busybox:1.36\n  command: sleep 3600\n  expose:\n")
		for i := range ranges {
			fmt.Fprintf(compose, "    - \"%d-%d\"\n", i*1000+1, i*1000+1000)
		}
		fmt.Fprint(compose, "services:\n")
		for i := range services {
			fmt.Fprintf(compose, "  s%d: *service\n", i)
		}
		repositoryOf(tree, smokeOnly, compose.String())
	}
}

// zeros is attack A4: an archive that unpacks to mib MiB of zeros, all one blob.
func zeros(mib int) func(*lab.Tree) {
	return func(tree *lab.Tree) {
		repositoryOf(tree, smokeOnly, idleWeb)
		content := tree.Blob(make([]byte, 1<<20))
		for i := range mib {
			tree.File(fmt.Sprintf("zeros/%d/%d", i/100, i), content)
		}
	}
}

// manySuites are attacks A5 and B6: count suites with a number of shards, each of which is retried.
func manySuites(count, shards, retry int) func(*lab.Tree) {
	return func(tree *lab.Tree) {
		config := "version: 1\ntests:\n"
		for i := range count {
			config += fmt.Sprintf("  suite-%d: {image: \"busybox:1.36\", command: \"true\", shards: %d, retry: %d}\n", i, shards, retry)
		}
		repositoryOf(tree, config, idleWeb)
	}
}

// manyImages is attack A5: count services with different builds, since services with the same build share its image.
func manyImages(count int) func(*lab.Tree) {
	return func(tree *lab.Tree) {
		compose := "services:\n"
		for i := range count {
			compose += fmt.Sprintf("  s%d: {build: {context: ., args: {NUMBER: \"%d\"}}}\n", i, i)
		}
		repositoryOf(tree, smokeOnly, compose)
		tree.Text("Dockerfile", "FROM busybox:1.36\n")
	}
}

// manyServices is attack A5: count services.
func manyServices(count int) func(*lab.Tree) {
	return func(tree *lab.Tree) {
		compose := "services:\n"
		for i := range count {
			compose += fmt.Sprintf("  s%d: {image: \"busybox:1.36\", command: sleep 3600}\n", i)
		}
		repositoryOf(tree, smokeOnly, compose)
	}
}
