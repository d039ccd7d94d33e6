package plan

import (
	"slices"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/repoconfig"
)

// usualCommands are how the tests of a repository are usually run, by a file in its root. The first file that is there decides.
var usualCommands = []struct{ file, command string }{
	{"package.json", "npm test"}, {"go.mod", "go test ./..."}, {"pyproject.toml", "pytest"}, {"pytest.ini", "pytest"}, {"tox.ini", "tox"},
	{"Cargo.toml", "cargo test"}, {"pom.xml", "mvn verify"}, {"build.gradle", "gradle test"}, {"build.gradle.kts", "gradle test"},
	{"Gemfile", "bundle exec rspec"}, {"composer.json", "composer test"}, {"Makefile", "make test"},
}

// composeFiles are the compose files that the repository may have instead of the default one, the likely ones first.
func (m *maker) composeFiles() []string {
	return append([]string{"docker-compose.yml", "docker-compose.yaml", "compose.yaml", "compose.yml"}, compose.FilesIn(m.in.Dir)...)
}

// minimalConfig returns a sentence, and below it a configuration for a repository that has none.
func (m *maker) minimalConfig() string {
	command := repoconfig.AnyCommand
	if i := slices.IndexFunc(usualCommands, func(u struct{ file, command string }) bool { return m.has(u.file) }); i >= 0 {
		command = usualCommands[i].command + " # a guess from " + usualCommands[i].file
	}
	sentence, file := "Three lines are enough", repoconfig.Minimal(command)
	if !m.has(compose.DefaultFile) {
		sentence += ", besides a " + compose.DefaultFile + " with the services that the tests need"
		if i := slices.IndexFunc(m.composeFiles(), m.has); i >= 0 {
			sentence = "These lines are enough"
			file += "stack: {compose: [" + m.composeFiles()[i] + "]}\n"
		}
	}
	return sentence + ":\n" + strings.TrimSuffix(file, "\n")
}
