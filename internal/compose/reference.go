package compose

import (
	"bytes"
	"fmt"
	"strings"
)

// referenceIntro opens the reference page.
var referenceIntro = `# How compose files are converted

<!-- Generated from internal/compose/fields.go by go generate ./internal/compose. -->

Conductor reads the repository's compose files, ` + "`docker-compose.qa.yml`" + ` unless ` + "`stack.compose`" + ` names others, and
converts them to Kubernetes objects. Every field is **converted**, **approximated** (it behaves slightly differently),
**dropped** or **refused**; all but the first are reported with file and line. Nothing is dropped silently: a field that is
not in the tables below is refused. A refusal stops the run before any service is started.

- Variables come from ` + "`stack.env`" + `, then from the file ` + "`.env`" + ` beside the first compose file or those of
  ` + "`stack.env_file`" + `, and not from anywhere else.
- Files are read from the repository only: a path or a symbolic link that leads out of it is refused, and so are remote resources.
- Each service is a Deployment, or a Job when others wait for it with ` + "`service_completed_successfully`" + `. Its name
  resolves, in upper and lower case, to the addresses of its pods, on every port, whether they are ready or not.
- Capital letters do not matter to DNS. A name that no Kubernetes Service can have, such as ` + "`my_db`" + `, becomes the nearest
  one, ` + "`my-db`" + `, and so it does where variables, commands, health checks, hooks and mounted files use it as the host of an
  address (` + "`my_db:5432`, `http://my_db/`, `user@my_db`" + `), each time with a note; and so does a
  variable's whole value where the variable's name suggests a host (` + "`DB_HOST`" + `). The same holds for suites in ` + "`.conductor.yaml`" + `. Other uses are left as they are.
- Names that begin with ` + "`conductor-`" + ` are reserved for what Conductor makes in each stack, be they of services, hosts, containers or aliases.
- A declared secret (` + "`conductor convert --secret NAME`" + `) has no value here. ` + "`${NAME}`" + ` refers to the stack's Secret: in a
  command, an entrypoint, a variable, a health check and hooks, also within a text such as ` + "`postgres://u:${DB_PASSWORD}@db/x`" + `.
  Defaults (` + "`${NAME:-x}`" + `) are not used then. The container also gets the variable NAME. In health checks and hooks a shell of
  the image inserts the value. Everywhere else, as in build arguments, labels or paths, a secret is refused.
- A container that runs as root under Docker does so here. Pods comply with Pod Security's *baseline*. The operator can
  allow more (` + "`stacks.allow`, `convert --allow`" + `): ` + allowances() + `. Runs of forks get none of these.
- An image's own settings (HEALTHCHECK, SHELL, EXPOSE, CMD, USER) are read from its registry: always by a run, by ` + "`convert` and `plan`" + ` with
  ` + "`--lookup`" + `. A run resolves a tag once and uses that digest throughout. If an image cannot be read within five seconds
  its settings are ignored, with a note. The OCI image format has no HEALTHCHECK: Docker, BuildKit and Kaniko write it nevertheless, Podman and Buildah
  only with ` + "`--format docker`" + `. Kaniko leaves out its start interval.
- A directory that is mounted over what the image was built from (` + "`.:/app`" + `, and with it ` + "`/app/node_modules`" + `) is
  left out: the image holds the files. Other files and directories are copied.
- As under Docker, a new volume gets the files that the image has at its target. An init container of that image copies them, if the
  image is known to have a shell (a command, entrypoint or health check uses one), or with ` + "`x-conductor: {seed: true}`" + `.
- ` + "`x-conductor`" + ` of a service has the keys ` + "`seed`" + ` (false: volumes start empty) and ` + "`ignore`" + ` (true: the service is left out of the
  stack), of a volume ` + "`size`" + `. Other extensions (` + "`x-`" + `) are ignored.
- ` + "`stack.strict: true`" + ` refuses what would be dropped with a note.

`

func allowances() string {
	var names []string
	for _, a := range Allowances() {
		names = append(names, "`"+string(a)+"`")
	}
	return strings.Join(names, ", ")
}

// page is the reference page docs/compose.md.
func page() []byte {
	var b bytes.Buffer
	b.WriteString(referenceIntro)
	bounds(&b)
	table(&b, "Services", serviceRows)
	table(&b, "Beside services", topRows)
	return b.Bytes()
}

// boundRows are what is bounded, by how much, and what is beyond.
var boundRows = [][3]string{
	{"one compose file, one file of variables", fmt.Sprintf("%d MiB", maxFile>>20), "refused"},
	{"all of them", fmt.Sprintf("%d files, %d MiB", maxFiles, maxRead>>20), "refused"},
	{"values in them, with aliases, merges, `extends`, includes and port ranges followed", fmt.Sprint(maxValues), "refused before anything is expanded"},
	{"values that are merged again, by steps of includes, several files and documents", fmt.Sprint(maxMerged), "refused"},
	{"keys of one mapping", fmt.Sprint(maxKeys), "refused"},
	{"their texts, with variables expanded", fmt.Sprintf("%d MiB", maxText>>20), "refused"},
	{"variables", fmt.Sprintf("%d lines in a file, %d in a line", maxLines, maxVariables), "refused"},
	{"ports of a service, and those of `expose`", fmt.Sprint(maxPorts), "refused"},
	{"paths along `depends_on`, from every service to every other", fmt.Sprint(maxWays), "refused"},
	{"mounts of a service", fmt.Sprint(maxMounts), "refused"},
	{"objects of a stack", fmt.Sprintf("%d, each of at most %d MiB, %d MiB in all", maxObjects, maxObject>>20, maxStack>>20), "refused"},
	{"mounted files in ConfigMaps, configs and secrets of the repository among them", fmt.Sprintf("%d KiB a file, %d MiB a stack; each file counts %d bytes more", maxContent>>10, maxCopied>>20, entryCost),
		"the smallest mounts are in ConfigMaps; a run fetches the others from its source artifact, `convert` refuses them"},
	{"mounted files from the source artifact", fmt.Sprintf("`stacks.files`, 256Mi, and %d files, all pods together", maxBrought), "refused"},
	{"files and directories in what is mounted", fmt.Sprint(maxWalked), "refused"},
	{"findings", fmt.Sprintf("%d of each level", maxFindings), "the others are counted"},
}

// bounds are the bounds as a table.
func bounds(b *bytes.Buffer) {
	b.WriteString("## Bounds\n\nWhat exceeds a bound is refused, with file, line and the numbers, before it is processed.\n\n| what | at most | beyond |\n|---|---|---|\n")
	for _, r := range boundRows {
		fmt.Fprintf(b, "| %s | %s | %s |\n", r[0], r[1], r[2])
	}
	b.WriteString(`
The API server keeps ConfigMaps in memory, so they hold little. Files that do not fit are never put there: the pods that mount them
have the init container ` + "`" + SourceContainer + "`" + `, which runs before all others, as an unprivileged user, and fetches them from the stack's agent. Each
path is a volume of the pod, read-only for its containers, and deleted with the pod. Differences to a copy in a ConfigMap:

- Names that no Kubernetes Service can have are not rewritten in these files, with a note where a service has one.
- A symbolic link stays one, and what it leads to must be mounted with it.
- A pod with ` + "`network_mode: none`" + ` cannot have such files.
- ` + "`mode`" + ` of a config or secret is not set: the file has the mode that it has in the repository.

`)
}

func table(b *bytes.Buffer, title string, rows []row) {
	fmt.Fprintf(b, "## %s\n\n| field | outcome | |\n|---|---|---|\n", title)
	for _, r := range rows {
		text := r.text
		if r.level != "" {
			// The text of a finding follows the field's name, in lower case.
			text = strings.ToUpper(text[:1]) + text[1:] + "."
			if a := allowRows[r.path]; a != "" {
				text += " The operator can allow it: " + string(a) + "."
			}
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", r.path, r.outcome, strings.ReplaceAll(text, "|", "\\|"))
	}
	b.WriteString("\n")
}
