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
- Mistakes are reported together, each with its line: first those of YAML, fields and values, then what the files refer to, then what
  cannot be converted. Values that Docker refuses, such as ` + "`restart: allways`" + `, are refused.
  A git submodule is not part of a checkout: what builds or mounts one is refused.
- Files are read from the repository only: a path or a symbolic link that leads out of it is refused, and so are remote resources.
- Each service is a Deployment or a Job. It is a Deployment if its restart policy is ` + "`always` or `unless-stopped`" + `, if the file gives it
  ` + "`ports`, `expose` or a `healthcheck`, if others wait for it with `service_healthy`" + `, or if the file leaves ` + "`command` and `entrypoint`" + ` to an image
  that exposes a port or has a HEALTHCHECK (or whose configuration is not known). Every other service, and each that others wait for with
  ` + "`service_completed_successfully`" + `, is a Job: it runs to its end and is not started again once it has ended with exit code 0. A Job can serve, too:
  the tests do not wait for its end unless a service does. Containers of one pod (` + "`network_mode: service:NAME`" + `) are of one kind: a server makes it a Deployment.
- A service's name resolves, in upper and lower case, to the addresses of its pods, on every port, whether they are ready or not.
- Capital letters do not matter to DNS. A name that no Kubernetes Service can have becomes the nearest one: ` + "`my_db`" + ` and
  ` + "`percona-5.7`" + ` are ` + "`my-db`" + ` and ` + "`percona-5-7`" + ` in the stack. That holds for names of services, aliases and links. Names of
  containers and host names become the service's own name.
- Where variables, commands, health checks, hooks and mounted files use such a name and the context proves that it is a
  host, it is rewritten, with a note: ` + "`my_db:5432`, `http://my_db/`, `user@my_db`, `tcp(my_db)`, `host=my_db`, `Server=my_db;`,\n  `Data Source=my_db`, `-h my_db`, `--db-host my_db`" + `, nginx's ` + "`server my_db;`" + `, and a variable's whole value or list where its
  name suggests a host (` + "`DB_HOST`, `KAFKA_BROKERS`" + `). It is not rewritten where a name suggests something else, such as a
  database, a user, a topic or a bucket.
- Every other place where such a name remains and could be a host has a note with file, line and what to write. In mounted
  source code only quoted names count. The same holds for suites in ` + "`.conductor.yaml`" + `. Build arguments are not rewritten.
- Addresses that only work with Docker on one machine remain, with a note: ` + "`host.docker.internal`, `172.17.0.1`,\n  `localhost:8080`" + ` where another service publishes or exposes that port, ` + "`KAFKA_ADVERTISED_LISTENERS`" + ` with nothing but
  ` + "`localhost`" + `, ` + "`PROJECT_web_1`" + ` or ` + "`PROJECT-web-1`" + ` for a container, and addresses that the file gives with ` + "`ipv4_address`" + `.
- A name of several services resolves to the pods of all of them. If networks or links let a service reach only some of
  them, that is refused where the service uses the name, and else noted.
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
- A file or directory that is mounted over the same files of a built image (` + "`COPY . /app`" + ` and ` + "`.:/app`" + `) is not mounted, with a note: what the
  build put beside them, such as ` + "`node_modules`" + `, stays. Conductor reads the Dockerfile for that: the target stage and those that it is based on, WORKDIR, ARG
  and ENV, COPY and ADD from the build context, VOLUME, and ` + "`.dockerignore`" + `. RUN counts as adding files, except for the paths that its ` + "`rm`, `mv` and `sed -i`" + `
  name. Unless every file of the mount is in the image at the same place, and whenever that is not clear, the mount is a copy like any other, and
  hides what the image has there, as under Docker. A read-only mount of a part of the context is always a copy.
- ` + "`PWD`" + ` is the repository's checkout where a path is expected (` + "`${PWD}/conf:/etc/app`" + `), unless it is among the variables. Elsewhere it is
  ` + "`" + checkoutPath + "`" + `, with a note.
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
	b.WriteString(changes)
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

// changes is what newer versions convert differently.
const changes = `## Changes

What newer versions convert differently:

- A mount over what an image is built from was dropped whenever the Dockerfile copied the directory to any place. It is delivered now,
  unless the image has the same files at the same place. A mount inside such a copy is refused where the copy has no directory for it.
- A service that ends by itself was a Deployment and failed the run, unless others waited for it with ` + "`service_completed_successfully`" + `. It is a
  Job now. A Deployment whose container ends with exit code 0 is Completed and scaled to 0.
- ` + "`/dev/shm`" + ` is a volume in memory, and a path of the host that a fresh machine does not have, such as ` + "`/tmp/x`" + `, an empty volume. Both were refused.
- ` + "`PWD`" + ` was an unset variable.
- A ` + "`hostname`" + ` that is another service's name joined that service. Aliases and host names with dots were refused where they were used.
- Words that prove a host, such as ` + "`-h my_db` or `Server=my_db;`" + `, were left with the old name, without a note.
- Wrong values that Docker refuses were taken, and of several mistakes only the first was reported.

`
